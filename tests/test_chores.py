"""What workers see to besides sending."""

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


def test_a_chore_without_a_database_waits_for_it_with_everything_else(monkeypatch):
    monkeypatch.setattr(chores.health, "watch", Mock(side_effect=OperationalError))
    with pytest.raises(OperationalError):
        chores._see_to(SimpleNamespace(**{**NOTHING, "ailing": True}))


def test_deletions_are_looked_at_from_the_first_on_until_all_that_was_owed_is_cancelled(monkeypatch):
    cancel = Mock(side_effect=[chores.MOST_CANCELLED, 7, chores.MOST_CANCELLED, 0, 0])
    told = SimpleNamespace(**NOTHING, deleted=True, drained=False)
    monkeypatch.setattr(chores, "report", Mock(return_value=told))
    monkeypatch.setattr(chores, "cancel_deleted", cancel)
    at_work = chores.Chores()
    monkeypatch.setattr(at_work, "_prune", Mock())
    for _ in range(5):
        at_work.do(Mock(), now=1.0)
    ever, lately = chores.EVER_S, chores.DELETED_WITHIN_S
    assert [call.kwargs["within_s"] for call in cancel.mock_calls] == [ever, ever, lately, ever, lately]
