"""What workers see to besides sending."""

from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.db import OperationalError

from routing import chores

NOTHING = {"lost": False, "ailing": False, "replays": False, "tallies": False, "counts": False}


def test_a_chore_that_fails_keeps_no_other_from_being_done(monkeypatch, caplog):
    replays = Mock()
    monkeypatch.setattr(chores.health, "watch", Mock(side_effect=ZeroDivisionError))
    monkeypatch.setattr(chores.replays, "run_some", replays)
    chores._see_to(SimpleNamespace(**{**NOTHING, "ailing": True, "replays": True}))
    replays.assert_called_once_with()
    assert "A chore failed" in caplog.text


@pytest.mark.parametrize("away", [True, False])
def test_a_chore_without_a_database_waits_for_it_with_everything_else(monkeypatch, caplog, away):
    """What the database could not do of one chore, as within its time limit, ends no other."""
    monkeypatch.setattr(chores.health, "watch", Mock(side_effect=OperationalError))
    monkeypatch.setattr(chores.connection, "is_usable", lambda: not away)
    with pytest.raises(OperationalError) if away else nullcontext():
        chores._see_to(SimpleNamespace(**{**NOTHING, "ailing": True}))
    assert ("A chore failed" in caplog.text) is not away


@pytest.fixture
def told(monkeypatch):
    """What there is to do; nothing else is done."""
    found = SimpleNamespace(**NOTHING, deleted=True, drained=False)
    monkeypatch.setattr(chores, "report", Mock(return_value=found))
    monkeypatch.setattr(chores.Chores, "_prune", Mock())
    return found


def test_deletions_are_looked_at_from_the_first_on_until_nothing_that_was_owed_is_found(monkeypatch, told):
    cancel = Mock(side_effect=[5_000, 7, 0, 7, 0, 0])
    monkeypatch.setattr(chores, "cancel_deleted", cancel)
    at_work = chores.Chores()
    for _ in range(6):
        at_work.do(Mock(), now=1.0)
    ever, lately = chores.EVER_S, chores.DELETED_WITHIN_S
    assert [call.kwargs["within_s"] for call in cancel.mock_calls] == [ever, ever, ever, lately, ever, lately]


def test_what_a_dead_worker_was_sending_is_reaped_before_deletions_are_through(monkeypatch, told):
    done = []
    monkeypatch.setattr(chores, "reap", lambda: done.append("reap"))
    monkeypatch.setattr(chores, "cancel_deleted", lambda within_s: done.append(within_s) or 0)
    at_work = chores.Chores()
    for lost in (True, False, False):
        told.lost = lost
        at_work.do(Mock(), now=1.0)
    assert done == ["reap", chores.EVER_S, chores.EVER_S, chores.DELETED_WITHIN_S]
