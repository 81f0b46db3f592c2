"""What a filter would have wanted of what is stored: the newest first, bounded in number and time."""

from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from django.utils import timezone

from endpoints.errors import BadInput
from endpoints.models import EventFilter
from endpoints.patterns import parse_pattern
from routing import backtests
from routing.backtests import Backtest, backtest
from routing.models import Event
from tests.traffic import record

EVERYTHING = parse_pattern({})
NOW = timezone.now()
HOUR = timedelta(hours=1)


@pytest.fixture
def stored(workspace):
    """Five events, an hour apart; the newest, an hour old, has the total 1, the oldest 5."""
    for total in range(5, 0, -1):
        (id_,) = record(workspace, data=msgspec.Raw(b'{"total": %d}' % total))
        recorded_at = NOW - total * HOUR
        moved = backtests.first_id(recorded_at)
        Event.objects.filter(pk=id_).update(id=moved, creation_date=recorded_at)
    return list(Event.objects.order_by("-pk"))


def test_it_counts_what_would_have_matched_and_shows_the_newest(workspace, stored, monkeypatch):
    monkeypatch.setattr(backtests, "SAMPLES", 2)
    wanted = parse_pattern({"data": {"total": [1, 2, 4]}})

    found = backtest(wanted, workspace_id=workspace.pk)

    assert found == Backtest(5, 3, True, NOW - 5 * HOUR, [stored[0], stored[1]])


@pytest.mark.parametrize("at_once", [1, 2, 5, 100])
def test_what_was_recorded_before_is_left_out(workspace, stored, monkeypatch, at_once):
    monkeypatch.setattr(backtests, "READ_AT_ONCE", at_once)

    found = backtest(EVERYTHING, workspace_id=workspace.pk, since=NOW - 3 * HOUR)

    assert found == Backtest(3, 3, True, NOW - 3 * HOUR, stored[:3])


def test_it_reads_no_more_than_it_needs(workspace, stored, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(backtests, "READ_AT_ONCE", 1)
    with django_assert_num_queries(4):
        backtest(EVERYTHING, workspace_id=workspace.pk, since=NOW - 3 * HOUR)


@pytest.mark.parametrize(("limit", "complete"), [(2, False), (4, False), (5, True), (6, True)])
def test_it_says_whether_it_looked_at_everything(workspace, stored, limit, complete):
    found = backtest(EVERYTHING, workspace_id=workspace.pk, limit=limit)

    assert (found.examined, found.complete) == (min(limit, 5), complete)


def test_it_ends_when_its_time_is_over_and_says_so(workspace, stored):
    ticks = count(0, backtests.BUDGET_S / 2)

    found = backtest(EVERYTHING, workspace_id=workspace.pk, clock=lambda: next(ticks))

    assert (found.examined, found.complete, found.oldest) == (3, False, NOW - 3 * HOUR)


def test_other_workspaces_are_not_looked_at(foreign_workspace, stored):
    assert backtest(EVERYTHING, workspace_id=foreign_workspace.pk) == Backtest(0, 0, True, None, [])


@pytest.mark.parametrize("since", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_any_time_may_be_asked_for(workspace, stored, since):
    found = backtest(EVERYTHING, workspace_id=workspace.pk, since=since)

    assert found.examined == (5 if since.year == 1 else 0)


@pytest.mark.parametrize("limit", [0, -1, backtests.MOST_EVENTS + 1])
def test_a_limit_has_bounds(workspace, limit):
    with pytest.raises(BadInput, match=f"^limit is {limit}; it is between 1 and 100000.$"):
        backtest(EVERYTHING, workspace_id=workspace.pk, limit=limit)


# --- over GraphQL

BACKTEST = """
query($pattern: JSON, $id: ID, $since: DateTime, $limit: Int, $endpointId: ID) {
  backtestEventFilter(pattern: $pattern, id: $id, since: $since, limit: $limit, endpointId: $endpointId) {
    examined matched complete oldest samples { event { id data } payload }
  }
}
"""


def test_a_pattern_is_tried_and_samples_show_what_an_endpoint_would_be_sent(graphql, stored, webhook):
    webhook.change(payload_shape={"template": {"sum": {"$path": "total"}}})

    answer = graphql(
        BACKTEST,
        pattern={"data": {"total": [{"numeric": ["<", 3]}]}},
        since=(NOW - 4 * HOUR).isoformat(),
        endpointId=str(webhook.pk),
    )

    assert answer["data"]["backtestEventFilter"] == {
        "examined": 4,
        "matched": 2,
        "complete": True,
        "oldest": (NOW - 4 * HOUR).isoformat(timespec="microseconds"),
        "samples": [
            {"event": {"id": str(event.pk), "data": {"total": total}}, "payload": f'{{"sum":{total}}}'}
            for total, event in enumerate(stored[:2], 1)
        ],
    }


def test_a_filter_that_is_kept_is_tried_by_its_id(graphql, workspace, stored):
    kept = EventFilter.create(workspace_id=workspace.pk, name="n", definition={"pattern": {"data": {"total": [4]}}})

    answer = graphql(BACKTEST, id=str(kept.pk))

    (sample,) = answer["data"]["backtestEventFilter"]["samples"]
    assert sample == {"event": {"id": str(stored[3].pk), "data": {"total": 4}}, "payload": '{"total": 4}'}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "pattern"),
        ({"pattern": {}, "id": "00000000-0000-4000-8000-000000000000"}, "pattern"),
        ({"pattern": {"type": "a"}}, "pattern.type"),
        ({"pattern": {}, "limit": 0}, "limit"),
        ({"id": "x"}, "id"),
    ],
)
def test_what_can_not_be_tried_is_refused_by_name(graphql, given, field):
    (error,) = graphql(BACKTEST, **given)["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": field}


def test_samples_cost_no_query_each(graphql, stored, django_assert_max_num_queries):
    with django_assert_max_num_queries(10):
        assert len(graphql(BACKTEST, pattern={})["data"]["backtestEventFilter"]["samples"]) == 5
