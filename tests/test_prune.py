"""What is too old is forgotten, with all that became of it; what is open stays."""

import json
from collections import Counter
from datetime import date, timedelta
from functools import partial
from unittest.mock import Mock, call

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from endpoints.models import Endpoint
from event_service import settings as settings_file
from routing import partitions, retention
from routing.models import Attempt, Delivery, Event, IdempotencyRecord, SharedDelivery, ShareGroup
from routing.queue import Result, claim, reap, settle
from routing.repeats import retry
from routing.retention import Forgot
from tests.together import together
from tests.traffic import end, of, record

committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
LATER = timezone.now() + timedelta(days=10)


@pytest.fixture(autouse=True)
def kept(settings):
    settings.KEEP_DAYS, settings.KEEP_ATTEMPTS_DAYS = 5, None
    return settings


def test_days_that_end_before_the_calendar_begins_are_refused(monkeypatch):
    monkeypatch.setenv("SOME_DAYS", "36500")
    assert settings_file._days("SOME_DAYS") == 36_500
    monkeypatch.setenv("SOME_DAYS", "36501")
    with pytest.raises(ImproperlyConfigured, match="SOME_DAYS is 36501; give at most 36500 days, or 0 for ever"):
        settings_file._days("SOME_DAYS")


def conserved(endpoint):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT recorded, open, forgotten FROM routing_conservation WHERE endpoint_id = %s", [endpoint.pk]
        )
        return cursor.fetchone()


def prune(**options):
    found = Counter()
    for forgot in retention.prune(now=LATER, **options):
        found[forgot.what] += forgot.rows
    return {what: rows for what, rows in found.items() if rows}


def ended(endpoint, count=1, **fields):
    """Record events, and what a worker would have written of their end."""
    ids = record(endpoint.workspace, count, **fields)
    for delivery in Delivery.objects.filter(event_id__in=ids):
        Attempt.objects.create(workspace_id=delivery.workspace_id, delivery=delivery, number=1, started_at=LATER)
    end(Delivery.objects.filter(event_id__in=ids), "DELIVERED")
    return ids


@pytest.fixture
def _no_whole_days(monkeypatch):
    """Of the days whose partitions would be dropped, which can't be done in the transaction of a test."""
    monkeypatch.setattr(partitions, "older_than", lambda *_, **__: [])


pytestmark = pytest.mark.usefixtures("_no_whole_days")


def test_what_is_over_is_forgotten_with_all_that_became_of_it_and_counted(webhook, workspace):
    ended(webhook, 3, id=None)
    record(workspace, id="producer's")
    retry([of(webhook).first()])
    end(of(webhook), "EXHAUSTED")

    assert prune() == {"attempts": 3, "deliveries": 5, "events": 4, "ids": 1}
    assert [kind.objects.count() for kind in (Event, Attempt, IdempotencyRecord)] == [0, 0, 0]
    assert conserved(webhook) == (5, 0, 5)
    assert prune() == {}


def test_what_waits_in_a_group_is_forgotten_with_its_delivery(webhook, workspace):
    ended(webhook)
    record(workspace)  # open, so it stays
    group = ShareGroup.objects.create(endpoint=webhook, name="g", scanned_to=2)
    for delivery in of(webhook):
        SharedDelivery.objects.create(group=group, seq=delivery.seq, delivery=delivery)

    prune()
    assert list(SharedDelivery.objects.values_list("seq", flat=True)) == [2]


def test_an_event_stays_while_any_of_its_deliveries_is_open_or_ended_lately(webhook, workspace):
    other = Endpoint.create_webhook(workspace_id=workspace.pk, name="Other", url="https://example.com/other")
    ended(webhook)
    of(other).update(state="PENDING", reason="", due_at=LATER, settled_at=None)
    (lately,) = ended(webhook)
    of(other, event=lately).update(settled_at=LATER)

    assert prune() == {}
    assert (Event.objects.count(), Delivery.objects.count(), Attempt.objects.count()) == (2, 4, 4)


def test_what_a_wrong_clock_dated_back_is_not_taken_for_old(workspace):
    record(workspace, id="producer's")
    Event.objects.update(creation_date=LATER)
    IdempotencyRecord.objects.update(creation_date=LATER)

    assert prune() == {}


def test_what_is_young_stays_and_without_a_number_of_days_everything(webhook, kept):
    ended(webhook)
    kept.KEEP_DAYS = 10

    assert prune() == {}  # of today, and days are whole
    kept.KEEP_DAYS = None
    assert not any(forgot.rows for forgot in retention.prune(now=LATER + timedelta(days=9_000)))


def test_a_workspace_may_keep_less_but_not_more(webhook, foreign, workspace, foreign_workspace, kept):
    ended(webhook)
    ended(foreign)
    kept.KEEP_DAYS = 20
    workspace.keep_days = 5
    workspace.save()

    assert prune() == {"attempts": 1, "deliveries": 1, "events": 1}
    assert list(Event.objects.values_list("workspace_id", flat=True)) == [foreign_workspace.pk]

    foreign_workspace.keep_days, kept.KEEP_DAYS = 20, 5
    foreign_workspace.save()
    assert prune() == {"attempts": 1, "deliveries": 1, "events": 1}


def test_attempts_may_go_before_their_deliveries(webhook, workspace, kept):
    ended(webhook)
    kept.KEEP_DAYS = None
    workspace.keep_attempts_days = 5
    workspace.save()

    assert prune() == {"attempts": 1}
    assert (Delivery.objects.count(), of(webhook).get().attempts_made) == (1, 1)


def test_a_walk_takes_many_short_transactions_and_looks_at_what_stays_once(webhook, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    ended(webhook, 2)
    record(webhook.workspace, 3)
    ended(webhook, 2)

    assert [forgot for forgot in retention.prune(now=LATER) if forgot.what == "events" and forgot.rows] == [
        ("events", 2),
        ("events", 1),
        ("events", 1),
    ]
    assert (Event.objects.count(), conserved(webhook)) == (3, (7, 3, 4))


def test_what_goes_at_once_is_bounded_by_the_deliveries_too(webhook, workspace, monkeypatch):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="Other", url="https://example.com/")
    monkeypatch.setattr(retention, "MOST_DELIVERIES", 4)
    ended(webhook, 5)  # of two deliveries each
    gone = [forgot.rows for forgot in retention.prune(now=LATER) if forgot.what == "events" and forgot.rows]
    assert gone == [2, 2, 1]
    assert not Delivery.objects.exists()


def test_one_event_with_more_goes_alone(webhook, monkeypatch):
    monkeypatch.setattr(retention, "MOST_DELIVERIES", 0)
    ended(webhook, 2)
    assert prune()["events"] == 2


def test_a_day_that_waits_keeps_those_behind_it(monkeypatch):
    days = [date(2026, 1, day) for day in (1, 2, 3)]
    drop = Mock(side_effect=[True, False])
    monkeypatch.setattr(partitions, "older_than", lambda *_, **__: days)
    monkeypatch.setattr(partitions, "drop", drop)
    assert list(retention._whole_days(False, None)) == [Forgot("days", 1)]
    assert drop.mock_calls == [call(day) for day in days[:2]]


def test_it_can_be_stopped_after_each_page_also_where_nothing_is_found(webhook, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    record(webhook.workspace, 5)

    assert [forgot.rows for forgot in retention.prune(now=LATER) if forgot.what == "events"] == [0, 0, 0]


@committed
def test_an_attempt_that_is_written_while_its_event_is_pruned_is_kept_or_goes_with_it(webhook):
    record(webhook.workspace)
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    results = [Result(job, "DELIVERED", started_at=LATER, duration_ms=1)]
    with transaction.atomic():
        settle(results)
        assert together(prune) == [{}]  # it waits for nobody, and what is not committed is open
    assert Attempt.objects.count() == 1
    with transaction.atomic():
        assert prune() == {"attempts": 1, "deliveries": 1, "events": 1}
        assert together(partial(settle, results), reap) == [0, 0]  # what has ended has no lease: nobody waits
    assert [kind.objects.count() for kind in (Event, Delivery, Attempt)] == [0, 0, 0]
    assert settle(results) == 0


@committed
def test_an_attempt_that_is_written_while_prune_has_the_event_and_did_not_look_at_its_deliveries_goes_with_it(webhook):
    (id_,) = record(webhook.workspace)
    (job,) = claim(limit=1, per_endpoint=1, rooms={})
    with transaction.atomic():
        Event.objects.select_for_update().get(pk=id_)
        assert together(partial(settle, [Result(job, "DELIVERED", started_at=LATER)])) == [1]
        assert prune() == {"attempts": 1, "deliveries": 1, "events": 1}
    assert not Attempt.objects.exists()


def test_a_dry_run_counts_and_changes_nothing(webhook):
    ended(webhook, 2)

    assert prune(dry_run=True) == {"attempts": 2, "deliveries": 2, "events": 2}
    assert (Event.objects.count(), conserved(webhook)) == (2, (2, 0, 0))


def test_the_command_says_what_it_did(webhook, capsys):
    call_command("prune", "--json", "--dry-run")
    nothing = {"days": 0, "attempts": 0, "events": 0, "deliveries": 0, "payloads": 0, "ids": 0}
    assert json.loads(capsys.readouterr().out) == {"dryRun": True, **nothing}

    call_command("prune")
    assert capsys.readouterr().out == (
        "0 days of attempts, 0 attempts, 0 events, 0 deliveries, 0 payloads, 0 ids of producers are forgotten.\n"
    )


def test_old_days_leave_by_their_partitions(db, monkeypatch, kept):
    monkeypatch.undo()
    kept.KEEP_DAYS, kept.KEEP_ATTEMPTS_DAYS = 20, 7
    gone = []
    monkeypatch.setattr(partitions, "drop", lambda day: gone.append(day) or True)
    old = [day for day in partitions.days() if day < (LATER - timedelta(days=7)).date()]

    assert prune() == {"days": len(old)} == {"days": 3}
    assert sorted(gone) == sorted(old)
