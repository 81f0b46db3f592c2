"""What the samples of a soak and its ledgers come to."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos import ledger
from chaos.figures import at_most, figure, say
from chaos.soak.samples import MIB, Process, Sample, Table

SLOPE_MIB_H = 1.0
MORE_DESCRIPTORS = 2  # at most: connections to receivers come and go
DEAD = 0.3  # of the living, at most: autovacuum comes at a fifth, and looks once a minute
GROWN = 1.1  # of what is to stay as it is, at most, from the middle of the run to its end
HISTORY = ("routing_event", "routing_delivery", "routing_attempt")  # grow with the events; those stay as they are:
HOT = ("routing_lane", "routing_cursor", "routing_socket", "routing_workernode", "endpoints_spending")


@dataclass(frozen=True)
class Line:
    slope: float
    error: float  # the slope's standard error

    def __str__(self) -> str:
        return f"{self.slope:+.2f} +- {self.error:.2f}"


def fitted(xs: Sequence[float], ys: Sequence[float]) -> Line:
    """Return the line of least squares through three points or more."""
    slope, intercept = statistics.linear_regression(xs, ys)
    mean = statistics.fmean(xs)
    spread = sum((x - mean) ** 2 for x in xs)
    left = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    return Line(slope, (left / (len(xs) - 2) / spread) ** 0.5)


def thirds(values: Iterable[float]) -> tuple[float, float]:
    """Return the means of the second third and of the last."""
    values = list(values)
    third = len(values) // 3
    return statistics.fmean(values[-2 * third : -third]), statistics.fmean(values[-third:])


def tell_processes(warm: Sequence[Sample]) -> None:
    hours = [sample.at / 3600 for sample in warm]
    for name in warm[0].processes:
        _tell_process(name, hours, [sample.processes[name] for sample in warm])


def _tell_process(name: str, hours: Sequence[float], seen: Sequence[Process]) -> None:
    """Judge a process by what it alone holds; PostgreSQL by the mean of its processes."""
    last = seen[-1]
    private = fitted(hours, [process.private / MIB / len(process.pids) for process in seen])
    resident = fitted(hours, [process.rss / MIB / len(process.pids) for process in seen])
    say(
        f"  {name}: {last.private / MIB:.1f} MiB private, {last.rss / MIB:.1f} resident; grew by {private} and "
        f"{resident} MiB/h; {len(last.pids)} processes, {last.descriptors} descriptors, {last.threads} threads"
    )
    figure(f"MiB/h that {name} grows by", private.slope, SLOPE_MIB_H, at_most)
    if name != "PostgreSQL":  # which opens and closes the files of tables, and processes, as it likes
        third = len(seen) // 3
        before, after = (max(p.descriptors for p in part) for part in (seen[-2 * third : -third], seen[-third:]))
        figure(f"most descriptors of {name}, {after}, more than before", after - before, MORE_DESCRIPTORS, at_most)
        figure(f"processes that were {name}", len({pid for process in seen for pid in process.pids}), 1)


def tell_tables(warm: Sequence[Sample]) -> None:
    events = [sample.tables["routing_event"].live for sample in warm]
    for name in HISTORY:
        seen = [sample.tables[name] for sample in warm]
        before, after = thirds(table.size / count for table, count in zip(seen, events, strict=True))
        _tell_dead(name, seen)
        figure(f"dead rows of {name} to the living", max(t.dead / max(t.live, 1) for t in seen), DEAD, at_most)
        figure(f"bytes of {name} for each event, {after:.0f}, to those before", after / before, GROWN, at_most)
    for name in HOT:
        seen = [sample.tables[name] for sample in warm]
        before, after = thirds(table.size / 1024 for table in seen)
        _tell_dead(name, seen)
        figure(f"KiB of {name}, {after:.0f}, to those before", after / before, GROWN, at_most)


def _tell_dead(name: str, seen: Sequence[Table]) -> None:
    before, after = thirds(table.dead for table in seen)
    say(f"  {name}: {seen[-1].live} rows; {before:.0f} dead, then {after:.0f}, {max(t.dead for t in seen)} at most")


def tell_deliveries(folder: Path) -> None:
    """Judge by the ledgers: what was accepted against what a receiver took, once each."""
    sent = {line["n"]: line["at"] for line in ledger.read(folder / "sent")}
    answers = list(ledger.read(folder / "accepted"))
    accepted = {line["n"] for line in answers if "id" in line}
    first_ms: dict[str, float] = {}
    taken: Counter[str] = Counter()
    refused = 0
    for request in ledger.read(folder / "received"):
        first_ms.setdefault(request["n"], (request["at"] - sent[request["n"]]) * 1000)
        if request["answer"] == "200":
            taken[request["n"]] += 1
        else:
            refused += 1
    cuts = statistics.quantiles(first_ms.values(), n=1000)
    say(f"  {len(accepted)} events accepted; {taken.total()} requests taken, {refused} refused and sent again")
    say(
        f"  from the producer's request to the receiver: p50 {cuts[499]:.1f} ms, p95 {cuts[949]:.1f} ms, "
        f"p99 {cuts[989]:.1f} ms"
    )
    figure("lost", len(accepted - taken.keys()), 0)
    figure("taken twice", taken.total() - len(taken), 0)
    figure("events refused by the service", sum("id" not in line for line in answers), 0)
