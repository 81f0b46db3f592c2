"""What workers see to besides sending."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.db import OperationalError

from routing import chores

NOTHING = {"lost": False, "ailing": False, "replays": False, "tallies": False, "counts": False}


def test_a_chore_that_fails_keeps_no_other_from_being_done(monkeypatch, caplog):
    replays = Mock()
    monkeypatch.setattr(
        chores.health, "watch", Mock(side_effect=ZeroDivisionError, __module__="health", __name__="watch")
    )
    monkeypatch.setattr(chores.replays, "run_some", replays)
    chores._see_to(SimpleNamespace(**{**NOTHING, "ailing": True, "replays": True}))
    replays.assert_called_once_with()
    assert "A chore failed (health.watch)" in caplog.text


def test_a_chore_without_a_database_waits_for_it_with_everything_else(monkeypatch):
    monkeypatch.setattr(chores.health, "watch", Mock(side_effect=OperationalError))
    with pytest.raises(OperationalError):
        chores._see_to(SimpleNamespace(**{**NOTHING, "ailing": True}))
