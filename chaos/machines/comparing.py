"""How much more two workers on two machines deliver than one."""

from collections.abc import Sequence

import requests

from chaos import ledger
from chaos.database import wait_for
from chaos.figures import at_least, figure, say
from chaos.machines.cluster import Cluster, Node
from chaos.publisher import new_event

EVENTS = 600
AT_ONCE = 100
THREADS = 8
# Before a receiver answers. Such an endpoint is slow and has 16 threads of a worker at most: workers wait rather than
# work, since all machines share the cores of one.
DELAY_S = 0.5
WANTED = 1.6
ROUNDS = 3


def compare(here: Cluster) -> None:
    """By turns, so that what else the machine does spoils both; the median of each."""
    here.receiver.tell(delay_s=DELAY_S)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(ROUNDS):
        for count, found in rates.items():
            found.append(_rate(here, here.workers[:count], f"round-{number}-{count}-"))
    one, two = (sorted(found)[ROUNDS // 2] for found in rates.values())
    say(f"  one worker {one:.0f} deliveries/s, two {two:.0f}, to four endpoints that answer after {DELAY_S} s")
    figure("two workers to one", two / one, WANTED, at_least)


def _rate(here: Cluster, workers: Sequence[Node], name: str) -> float:
    """Return how many deliveries a second the workers make of a backlog, between its tenth and its nine tenths."""
    producer, session = here.producer(), requests.Session()
    workspace_id, key = next(iter(here.world.workspaces.items()))
    with here.working(workers, threads=THREADS):
        for start in range(0, EVENTS, AT_ONCE):
            events = [new_event(workspace_id, f"{name}{start + n}") for n in range(AT_ONCE)]
            producer.publish(session, workspace_id, key, events)
        wait_for("the backlog to be delivered", here.database.is_final)
    times = sorted(line["at"] for line in ledger.read(here.folder / "received") if line["n"].startswith(name))
    first, last = len(times) // 10, len(times) * 9 // 10
    return (last - first) / float(times[last] - times[first])
