"""script/chaos in short: the same faults and the same accounting, each a time or two."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import figures, ledger, points, sockets, stale, storm
from chaos.accounting import Account, account
from chaos.scene import Scene, scene
from chaos.world import World


@pytest.fixture(scope="module")
def here() -> Iterator[Scene]:
    """A running service. The name of its folder is short enough for a socket; PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with scene(Path(folder)) as here:
            yield here


def test_nothing_is_lost_or_doubled_when_each_process_is_killed_under_load(here: Scene) -> None:
    storm.short(here)

    assert figures.broken() == []


def test_a_kill_after_the_commit_before_the_answer_and_around_the_result_costs_a_repeat_at_most(here: Scene) -> None:
    points.reach(here, times=1, names=["K2", "K6", "K7"])

    assert figures.broken() == []


def test_what_a_worker_reports_after_its_lease_is_refused(here: Scene) -> None:
    stale.refuse(here, results=100)

    assert figures.broken() == []


def test_websocket_clients_miss_nothing_when_they_are_cut_off_and_their_server_is_killed(here: Scene) -> None:
    sockets.listen_through(here, events=400, cuts=8, kills=2)

    assert figures.broken() == []


WORKSPACE = "w"
PATHS = sorted(World.wanting(WORKSPACE, "order.paid"))


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    """Ledgers of one event that was accepted and came to its three endpoints."""
    ledger.Ledger(tmp_path / "sent", durable=False).write({"n": "1", "workspace": WORKSPACE, "type": "order.paid"})
    ledger.Ledger(tmp_path / "accepted", durable=True).write({"n": "1", "id": "e1", "duplicate": False})
    receive(tmp_path, *({"path": path} for path in PATHS))
    return tmp_path


def receive(folder: Path, *requests: dict[str, object]) -> None:
    ordinary = {"id": "e1", "n": "1", "workspace": WORKSPACE, "valid": True, "sha": "s", "answer": "200"}
    ledger.Ledger(folder / "received", durable=False).write(*({**ordinary, **request} for request in requests))


GOOD = Account(
    accepted=1,
    refused=0,
    received=3,
    lost=0,
    unexpected=0,
    misrouted=0,
    doubled=0,
    duplicates=0,
    unmarked=0,
    recovered=0,
)


def test_what_came_once_to_each_endpoint_is_as_it_must_be(sent: Path) -> None:
    assert account(sent) == GOOD


def test_what_was_answered_503_alone_counts_as_lost(sent: Path) -> None:
    (sent / "received").unlink()
    receive(sent, {"path": PATHS[0]}, {"path": PATHS[1]}, {"path": PATHS[2], "answer": "503"})

    found = account(sent)

    assert (found.lost, found.received) == (1, 2)


@pytest.mark.parametrize(
    ("request_", "counted"),
    [
        ({"path": PATHS[0]}, {"duplicates": 1}),
        ({"path": PATHS[0], "sha": "other"}, {"duplicates": 1, "unmarked": 1}),
        ({"path": PATHS[0], "id": "e2"}, {"duplicates": 1, "unmarked": 1, "unexpected": 1}),
        ({"path": "/w/order.paid"}, {"misrouted": 1}),
        ({"path": PATHS[0], "valid": False}, {"misrouted": 1, "duplicates": 1}),
        ({"path": PATHS[0], "workspace": "v"}, {"misrouted": 1, "duplicates": 1}),
        ({"path": PATHS[0], "n": "2"}, {"unexpected": 1}),
    ],
    ids=["again", "other body", "other id", "other endpoint", "other secret", "other workspace", "never sent"],
)
def test_what_is_wrong_is_counted_by_what_is_wrong_with_it(
    sent: Path, request_: dict[str, object], counted: dict[str, int]
) -> None:
    receive(sent, request_)

    found = account(sent)

    assert {name: getattr(found, name) for name in counted} == counted
    assert (found.lost, found.received) == (0, 4)


def test_two_ids_for_one_producers_id_are_counted(sent: Path) -> None:
    ledger.Ledger(sent / "accepted", durable=True).write({"n": "1", "id": "e2", "duplicate": False})

    assert account(sent).doubled == 1
