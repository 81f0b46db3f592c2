"""How long deliveries took in a stretch of time, by the ledgers of producers and receivers."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos import ledger


@dataclass
class Stretch:
    """A time in which events were published, by time.time()."""

    name: str
    since: float
    until: float = 0.0


@contextmanager
def stretch(name: str) -> Iterator[Stretch]:
    made = Stretch(name, time.time())
    yield made
    made.until = time.time()


@dataclass(frozen=True)
class Took:
    """From the producer's request to a receiver, of what the first try brought to the service. In milliseconds."""

    count: int
    p50: float
    p99: float
    worst: float


def took(folder: Path, when: Stretch) -> Took:
    sent = _sent(folder, when)
    first = {line["n"] for line in ledger.read(folder / "accepted") if line["tries"] == 1}
    times: dict[tuple[str, str], float] = {}
    for request in ledger.read(folder / "received"):
        n = request["n"]
        if n in sent and n in first:
            times.setdefault((n, request["path"]), (request["at"] - sent[n]) * 1000)
    cuts = statistics.quantiles(times.values(), n=100)
    return Took(len(times), cuts[49], cuts[98], max(times.values()))


def accepted_within_s(folder: Path, when: Stretch) -> float:
    """Return how long it took at most until an event was accepted, by whichever machine."""
    sent = _sent(folder, when)
    return max(float(line["at"]) - sent[line["n"]] for line in ledger.read(folder / "accepted") if line["n"] in sent)


def waited_s(folder: Path, cut_at: float) -> float:
    """Return how long after `cut_at` the last delivery came, for the first time, of what was published before."""
    sent = {line["n"]: line["at"] for line in ledger.read(folder / "sent")}
    first: dict[tuple[str, str], float] = {}
    for line in ledger.read(folder / "received"):
        if sent.get(line["n"], cut_at) < cut_at:  # else it was published since they were read
            first.setdefault((line["n"], line["path"]), line["at"])
    return max(first.values()) - cut_at


def _sent(folder: Path, when: Stretch) -> dict[str, float]:
    lines = ledger.read(folder / "sent")
    return {line["n"]: line["at"] for line in lines if when.since <= line["at"] < when.until}
