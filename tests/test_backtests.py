"""What a filter would have wanted of what is stored: the newest first, bounded in number and time."""

from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from django.utils import timezone

from endpoints.errors import BadInput
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
        moved = backtests._first_id(recorded_at)
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
