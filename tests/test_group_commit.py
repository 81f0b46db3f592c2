"""How much waits for the database, and how much of it goes into one transaction."""

import asyncio
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from endpoints.errors import Unavailable
from routing import group_commit
from routing.group_commit import GroupCommit


def test_what_waits_and_what_is_recorded_at_once_is_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_BYTES", 15)
    monkeypatch.setattr(group_commit, "MAX_WAITING_BYTES", 30)

    async def parts():
        commit = GroupCommit()
        commit._task.cancel()  # as with a database that does not answer
        events = [SimpleNamespace(data="x" * 10)]
        waiting = [asyncio.create_task(commit.record(Mock(), events, Mock())) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="3 requests are waiting"):
            await commit.record(Mock(), events, Mock())
        taken = [len(commit._next()), len(commit._next())]
        waiting.append(asyncio.create_task(commit.record(Mock(), events, Mock())))  # there is room again
        await asyncio.sleep(0)
        return [*taken, len(commit._next())]

    assert asyncio.run(parts()) == [2, 1, 1]
