"""A payload may go before its event, which stays with its deliveries: each place says so, and takes it for no other."""

import threading
from datetime import timedelta

import msgspec
import pytest
from django.db import connection, transaction
from django.utils import timezone

from endpoints.errors import Conflict
from endpoints.models import AuditEntry, EventFilter, PortalLink, PortalRight
from endpoints.patterns import parse_pattern
from routing import partitions, replays, retention
from routing.backtests import backtest
from routing.models import Attempt, Delivery, Event, IdempotencyRecord
from routing.portal.door import PATH
from routing.repeats import Repeat, retry, write
from routing.replays import Selection
from routing.whys import why
from tests.service import wait_until
from tests.test_replays import finished
from tests.traffic import end, of, record

LATER = timezone.now() + timedelta(days=10)
committed = pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
EVENT = """
{ events { collectionItems { type data dataText extensions agentId payloadForgottenAt deliveries { state } } } }
"""
RETENTION = "query { workspace { retention { events payloads attempts } } }"


@pytest.fixture(autouse=True)
def kept(settings, monkeypatch):
    settings.KEEP_DAYS, settings.KEEP_PAYLOADS_DAYS, settings.KEEP_ATTEMPTS_DAYS = None, 5, None
    monkeypatch.setattr(partitions, "older_than", lambda *_, **__: [])
    return settings


def prune(**options):
    return [tuple(forgot) for forgot in retention.prune(now=LATER, **options) if forgot.rows]


def ended(endpoint, count=1, state="EXHAUSTED", **fields):
    ids = record(endpoint.workspace, count, **fields)
    end(Delivery.objects.filter(event_id__in=ids), state)
    return ids


@pytest.fixture
def forgotten(webhook):
    """An event that has lost its payload."""
    ended(webhook, data=msgspec.Raw(b'{"agentId": "7"}'))
    prune()
    return Event.objects.get()


# --- what is forgotten


def test_the_payload_goes_and_all_else_stays(webhook):
    ended(webhook, id="producer's", subject="order 1", data=msgspec.Raw(b'{"a": 1}'), extensions={"tenant": "x"})
    Attempt.objects.create(workspace_id=webhook.workspace_id, delivery=of(webhook).get(), number=1, started_at=LATER)
    before = Event.objects.get()

    assert prune(dry_run=True) == [("payloads", 1)]
    assert Event.objects.get().data == '{"a": 1}'
    assert prune() == [("payloads", 1)]
    event = Event.objects.get()
    assert (event.data, event.extensions, event.subject) == ("", "", "order 1")
    assert event.payload_forgotten_at > before.creation_date
    assert [kind.objects.count() for kind in (Delivery, Attempt, IdempotencyRecord)] == [1, 1, 1]
    assert prune() == []


def test_what_is_open_ended_lately_or_is_young_keeps_its_payload(webhook, kept):
    record(webhook.workspace)
    (lately,) = ended(webhook)
    of(webhook, event=lately).update(settled_at=LATER)
    ended(webhook)
    Event.objects.filter(deliveries__state="EXHAUSTED").exclude(pk=lately).update(creation_date=LATER)  # by its clock
    assert prune() == []

    kept.KEEP_PAYLOADS_DAYS = 10
    end(of(webhook))
    assert prune() == []


def test_a_workspace_may_keep_less_but_not_more_and_changing_that_is_audited(webhook, foreign, kept):
    ended(webhook)
    ended(foreign)
    kept.KEEP_PAYLOADS_DAYS, webhook.workspace.keep_payloads_days = 20, 5
    webhook.workspace.save()
    assert prune() == [("payloads", 1)]
    assert list(Event.objects.filter(payload_forgotten_at=None).values_list("workspace_id", flat=True)) == [
        foreign.workspace_id
    ]
    entry = AuditEntry.objects.get(object_type="Workspace", operation="UPDATE")
    assert entry.changes == {"keep_payloads_days": {"before": None, "after": 5}}

    kept.KEEP_PAYLOADS_DAYS, foreign.workspace.keep_payloads_days = 5, 20
    foreign.workspace.save()
    assert prune() == [("payloads", 1)]


def test_where_events_are_kept_no_longer_than_payloads_they_go_at_once(webhook, kept):
    ended(webhook)
    kept.KEEP_DAYS = 5

    assert prune() == [("deliveries", 1), ("events", 1)]


def test_the_api_says_for_how_long_what_is_kept(workspace, graphql, kept):
    assert graphql(RETENTION)["data"]["workspace"]["retention"] == {"events": None, "payloads": 5, "attempts": None}
    kept.KEEP_DAYS, kept.KEEP_PAYLOADS_DAYS, kept.KEEP_ATTEMPTS_DAYS = 30, 40, 7
    workspace.keep_attempts_days = 3
    workspace.save()
    assert graphql(RETENTION)["data"]["workspace"]["retention"] == {"events": 30, "payloads": 30, "attempts": 3}


# --- what becomes of it elsewhere


def test_the_api_shows_when_it_was_forgotten(forgotten, graphql):
    (item,) = graphql(EVENT)["data"]["events"]["collectionItems"]
    at = item.pop("payloadForgottenAt")
    assert at.startswith(forgotten.payload_forgotten_at.strftime("%Y-%m-%dT%H:%M:%S"))
    assert item == {
        "type": "order.paid",
        "data": None,
        "dataText": None,
        "extensions": None,
        "agentId": None,
        "deliveries": [{"state": "EXHAUSTED"}],
    }


def test_the_pages_of_it_say_when_it_was_forgotten(forgotten, webhook, admin_client):
    said = f"The payload was forgotten at {forgotten.payload_forgotten_at:%Y-%m-%d %H:%M:%S} UTC"
    page = admin_client.get(f"/admin/routing/event/{forgotten.pk}/change/").content.decode()
    assert said in page
    assert "It has no data." not in page
    checked = admin_client.post(
        "/admin/filter/check/", {"workspace": str(webhook.workspace_id), "definition": '{"pattern": {}}'}
    )
    assert checked.json() == {"problem": "", "tried": []}


def test_the_portal_says_so_too_and_does_not_offer_to_deliver_it_again(forgotten, webhook, client):
    _, token = PortalLink.issue(workspace=webhook.workspace, name="Ann", rights=[PortalRight.OPERATE])
    client.post(f"{PATH}open", {"token": token})

    page = client.get(f"{PATH}deliveries/{of(webhook).get().pk}/").content.decode()

    assert "The payload was forgotten at 20" in page
    assert "Deliver again" not in page


def test_it_is_not_delivered_again_and_the_reason_is_said(forgotten, webhook):
    with pytest.raises(Conflict, match=f"retried: The payload of event {forgotten.pk} was forgotten at 20"):
        retry([of(webhook).get()])
    assert of(webhook).count() == 1
    assert write([Repeat(forgotten.pk, webhook.pk, None)]) == 0


@pytest.mark.parametrize("filtered", [False, True])
def test_a_replay_passes_over_it_and_counts_it(forgotten, webhook, filtered):
    (left,) = ended(webhook)
    wanted = EventFilter.create(workspace_id=webhook.workspace_id, name="All", definition={"pattern": {}})

    replay = finished(replays.create(Selection(webhook, event_filter=wanted if filtered else None)))

    assert (replay.state, replay.total, replay.done, replay.passed_over) == ("DONE", 1, 1, 1)
    assert list(of(webhook, retry_of__isnull=False).values_list("event_id", flat=True)) == [left]


def test_a_replay_of_what_was_never_tried_passes_over_it_too(forgotten, webhook):
    of(webhook).update(attempts_made=0)

    replay = finished(replays.create(Selection(webhook, never_attempted=True)))

    assert (replay.total, replay.done, replay.passed_over) == (0, 0, 1)


def test_a_filter_is_not_tried_on_it(forgotten, webhook):
    ended(webhook)
    anything = parse_pattern({"data": {"agentId": [{"exists": False}]}})

    found = backtest(anything, workspace_id=webhook.workspace_id)

    assert (found.examined, found.matched, found.passed_over, found.complete) == (1, 1, 1, True)
    with pytest.raises(Conflict, match="was forgotten at"):
        forgotten.fields()


def test_where_it_went_is_still_said_and_why_not_as_far_as_that_can_be_told(forgotten, webhook):
    assert (
        why(forgotten, webhook).reason
        == f"It was wanted: delivery {of(webhook).get().pk} is EXHAUSTED (test) after 1 attempt."
    )
    of(webhook).delete()
    found = why(forgotten, webhook)
    assert found.reason.startswith("The payload was forgotten at 20")
    assert found.filters == []


# --- at the same moment


@committed
@pytest.mark.parametrize("gone", ["payload", "event"])
def test_a_retry_at_the_moment_in_which_it_is_forgotten_waits_and_is_refused(webhook, kept, gone):
    ended(webhook)
    delivery, refused = of(webhook).get(), []
    if gone == "event":
        kept.KEEP_DAYS = 5

    def again():
        try:
            retry([delivery])
        except Conflict as conflict:
            refused.append(conflict.message)
        finally:
            connection.close()

    retrying = threading.Thread(target=again)
    with transaction.atomic():
        prune()
        retrying.start()
        wait_until(_waiting, lambda waiting: waiting == 1)
        assert refused == []
    retrying.join(timeout=10)
    said = "The payload of event" if gone == "payload" else "is not kept any more."
    assert [said in message for message in refused] == [True]
    assert Delivery.objects.filter(retry_of__isnull=False).count() == 0


@committed
def test_what_is_delivered_again_at_that_moment_keeps_its_payload(webhook):
    ended(webhook)
    pruned = []

    def meanwhile():
        pruned.extend(prune())
        connection.close()

    with transaction.atomic():
        retry([of(webhook).get()])
        pruning = threading.Thread(target=meanwhile)
        pruning.start()
        pruning.join(timeout=10)
    assert pruned == []
    assert Event.objects.get().payload_forgotten_at is None


def _waiting():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0]
