"""script/fuzz in short: every door, a few cases each, and a judge that is not asleep."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fuzz.judge import Judge
from fuzz.running import MAKERS, Bounds, Here, here, run
from fuzz.wire import Answer, exchange, request


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Here]:
    """A running service. The name of its folder is short enough for a socket; PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with here(Path(folder)) as found:
            yield found


@pytest.fixture
def judge(fuzzed: Here) -> Judge:
    fuzzed.judge.faults.clear()
    return fuzzed.judge


@pytest.mark.parametrize("door", MAKERS)
def test_a_door_withstands_what_is_sent(fuzzed: Here, judge: Judge, door: str) -> None:
    run(fuzzed, Bounds(seed=2, count=25, seconds=5), [door])

    assert judge.faults == []
    assert sum(count for (name, _), count in judge.counts.items() if name == door) > 3


@pytest.mark.parametrize("door", MAKERS)
def test_a_seed_gives_the_same_cases_again(fuzzed: Here, door: str) -> None:
    made = MAKERS[door](fuzzed)
    drawn = [[made.draw(Random(f"{seed}")) for seed in range(20)] for _ in range(2)]

    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("status", "text"),
    [("500", ""), ("502", ""), ("1011", ""), ("overdue", ""), ("200", "{foreign data}"), ("400", "{header}")],
)
def test_what_must_not_be_answered_is_a_fault(fuzzed: Here, judge: Judge, status: str, text: str) -> None:
    told = text.format_map(fuzzed.world.secret | fuzzed.world.foreign).encode()
    judge.answer("here", Answer(status, told), may_show={})

    assert len(judge.faults) == 1


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "2026-11-22 10:00:00,000 ERROR x: y",
        "what a client wrote",
        "2026-11-22 10:00:00,000 INFO x: {foreign key}",
    ],
)
def test_what_must_not_be_logged_is_a_fault(
    fuzzed: Here, judge: Judge, line: str, monkeypatch: Any, tmp_path: Any
) -> None:
    log = tmp_path / "log"
    log.write_text(line.format_map(fuzzed.world.secret) + "\n")
    monkeypatch.setattr(judge._service, "log", log)
    monkeypatch.setattr(judge, "_read", 0)
    judge.log("here")

    assert len(judge.faults) == 1


def test_data_that_came_back_otherwise_is_a_fault(fuzzed: Here, judge: Judge) -> None:
    door = MAKERS["events"](fuzzed)
    case = door.ordinary.__class__(door.ordinary.request, ('{"total": 1.0}',))
    door.check("here", case, door.send(case))
    door.finish()

    assert [fault.partition(" of ")[0] for fault in judge.faults] == ["""here: kept '{"total": 1.00}'"""]


def test_what_costs_too_much_is_a_fault(fuzzed: Here, judge: Judge, monkeypatch: Any) -> None:
    monkeypatch.setattr("fuzz.running.DEAREST", 0)
    run(fuzzed, Bounds(count=1), ["raw"])

    assert "takes CPU and time" in judge.faults[0]


def test_memory_that_grows_and_a_process_that_is_gone_are_faults(judge: Judge, monkeypatch: Any) -> None:
    judge.memory(judge.rss() - (1 << 30))
    monkeypatch.setattr(judge._service, "processes", lambda _command: [])
    judge.life("here")

    assert [fault.partition(":")[0] for fault in judge.faults] == ["memory", "here"]


def test_an_answer_that_is_owed_is_waited_for(fuzzed: Here) -> None:
    assert exchange(fuzzed.port, request("GET", "/healthz")).status == "200"
