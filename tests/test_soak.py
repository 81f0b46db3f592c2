"""What script/soak makes of its samples."""

import os
import subprocess
import sys
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

import psutil
import pytest

from chaos import figures
from chaos.soak.report import fitted, tell_processes, tell_tables, thirds
from chaos.soak.samples import MIB, Process, Sample, Table, measured
from tests.service import wait_until

COUNT = 30
TABLES = ("routing_event", "routing_delivery", "routing_attempt", "routing_lane", "routing_cursor", "routing_socket")
TABLES += ("routing_workernode", "endpoints_spending")


def sample(n: int, *, grown: float = 0, descriptors: int = 9, pid: int = 1, dead: int = 0, each: int = 100) -> Sample:
    """Return the nth sample of a run, a minute after the one before it."""
    memory = int((50 + grown) * MIB)
    table = Table(live=n + 1, dead=dead, bytes=(n + 1) * each, index_bytes=0)
    tables = {name: table if name in TABLES[:3] else Table(1, 0, 8192, 0) for name in TABLES}
    return Sample(n * 60.0, {"web 1": Process([pid], memory, memory, descriptors, 3)}, tables, 0.0)


def test_a_line_has_a_slope_and_its_error() -> None:
    line = fitted([0, 1, 2, 3], [1, 3, 2, 4])

    assert (line.slope, line.error) == (pytest.approx(0.8), pytest.approx(0.4242640687))  # R: summary(lm(y ~ x))


def test_thirds_leave_the_first_out() -> None:
    assert thirds([9, 9, 1, 3, 5, 7]) == (2, 6)


def test_what_stays_as_it_is_is_as_it_must_be() -> None:
    warm = [sample(n) for n in range(COUNT)]
    tell_processes(warm)
    tell_tables(warm)

    assert figures.broken() == []


@pytest.mark.parametrize(
    ("samples", "broken"),
    [
        ([sample(n, grown=2 * n / 60) for n in range(COUNT)], ["MiB/h that web 1 grows by"]),
        ([sample(n, descriptors=9 + n) for n in range(COUNT)], ["most descriptors of web 1, 38, more than before"]),
        ([sample(n, pid=1 + n // 20) for n in range(COUNT)], ["processes that were web 1"]),
    ],
    ids=["memory", "descriptors", "a restart"],
)
def test_what_grows_is_named(samples: list[Sample], broken: list[str]) -> None:
    tell_processes(samples)

    assert figures.broken() == broken


def test_dead_rows_and_tables_that_grow_faster_than_the_events_are_named() -> None:
    tell_tables([sample(n, dead=n, each=100 + 3 * n) for n in range(COUNT)])

    assert [name.split(",")[0] for name in figures.broken()] == [
        name
        for table in TABLES[:3]
        for name in (f"dead rows of {table} to the living", f"bytes of {table} for each event")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_process_that_has_just_ended_is_left_out() -> None:
    with subprocess.Popen(["true"]) as ended:
        wait_until(psutil.Process(ended.pid).status, psutil.STATUS_ZOMBIE.__eq__)
        assert measured([psutil.Process(ended.pid), psutil.Process()]).pids == [os.getpid()]
    assert measured([]) == Process([], 0, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_process_is_measured_by_what_it_alone_holds() -> None:
    before = measured([psutil.Process()])
    with mmap(-1, 8 * MIB, flags=MAP_PRIVATE | MAP_ANONYMOUS) as held:  # new pages, whatever the process had to spare
        held.write(b"x" * 8 * MIB)
        after = measured([psutil.Process()])

    assert after.private - before.private >= 8 * MIB * 0.9
    assert (after.pids, after.private < after.rss, after.descriptors > 2) == ([os.getpid()], True, True)
