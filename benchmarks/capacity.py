"""What a load needs: processes, PostgreSQL's cores, connections, bytes and cells. See docs/scaling.md.

Arithmetic alone: what one event costs is measured elsewhere (Costs), and queueing.py tries the result.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass

from benchmarks.queueing import Station, simulate

DAY_S = 86_400
BUSY = 0.5  # of what there is; the rest is for a machine that is lost, and for what has been waiting
BLOAT = 1.5  # assumed
SLOW_THREADS = 128  # of a worker process; what receivers take occupies these, and no processor
CONNECTIONS_WEB, CONNECTIONS_WORKER, CONNECTIONS_PEOPLE = 18, 17, 10


@dataclass(frozen=True)
class Costs:
    """Seconds of a processor, and bytes with indexes.

    web_s and worker_s are what one process did in benchmarks/README.md, where PostgreSQL and the load had the same two
    cores. The others were measured on 2026-11-26 beside other work (a load of 4 to 13): CPU of PostgreSQL's own process
    in batches of 100 to 200, 10,000 events of 750 bytes, and the growth of the tables.
    """

    web_s: float = 1 / 2_315  # an event in a request of its own
    web_batch_s: float = 1 / 13_200  # one of a hundred
    worker_s: float = 1 / 1_977  # an attempt
    record_s: float = 54e-6  # an event with its producer's id
    owe_s: float = 29e-6  # a delivery of it
    settle_s: float = 161e-6  # its claim, and its result with the attempt
    event_bytes: int = 240 + 271  # beside its data; and the producer's id
    delivery_bytes: int = 820
    attempt_bytes: int = 270


@dataclass(frozen=True)
class Load:
    events_s: float
    fan_out: float
    attempts: float = 1.05  # for a delivery
    payload_bytes: int = 750
    days: int = 30
    receiver_s: float = 0.05
    batched: bool = False


@dataclass(frozen=True)
class Cell:
    """What one primary has."""

    cores: int = 16
    disk_bytes: float = 2e12


@dataclass(frozen=True)
class Plan:
    """So many cells, and what each of them has."""

    cells: int
    events_s: float
    web: int
    workers: int
    database_cores: int
    connections: int
    bytes_a_day: int
    disk_bytes: int


def plan(load: Load, cell: Cell | None = None, costs: Costs | None = None) -> Plan:
    """Return what keeps every part at BUSY or below, and the disk of every primary large enough."""
    cell, costs = cell or Cell(), costs or Costs()
    attempts = load.fan_out * load.attempts  # for an event
    database_s = _record_s(load, costs) + attempts * costs.settle_s
    disk = load.events_s * DAY_S * _bytes(load, costs) * load.days * BLOAT
    cells = max(_servers(load.events_s * database_s / cell.cores), math.ceil(disk / cell.disk_bytes))
    events_s = load.events_s / cells
    web = _servers(events_s * _web_s(load, costs))
    workers = _servers(events_s * attempts * max(costs.worker_s, load.receiver_s / SLOW_THREADS))
    return Plan(
        cells=cells,
        events_s=round(events_s, 1),
        web=web,
        workers=workers,
        database_cores=_servers(events_s * database_s),
        connections=CONNECTIONS_WEB * web + CONNECTIONS_WORKER * workers + CONNECTIONS_PEOPLE,
        bytes_a_day=round(events_s * DAY_S * _bytes(load, costs)),
        disk_bytes=round(disk / cells),
    )


def stations(load: Load, planned: Plan, costs: Costs | None = None) -> list[Station]:
    """Return where an event waits on its way: the web processes, PostgreSQL twice, the workers."""
    costs = costs or Costs()
    copies = load.fan_out * load.attempts
    return [
        Station("web", planned.web, _web_s(load, costs)),
        Station("record", planned.database_cores, _record_s(load, costs), shares="database"),
        Station("worker", planned.workers, costs.worker_s, copies=copies),
        Station("settle", planned.database_cores, costs.settle_s, shares="database"),
    ]


def _servers(busy: float) -> int:
    return max(1, math.ceil(busy / BUSY))


def _web_s(load: Load, costs: Costs) -> float:
    return costs.web_batch_s if load.batched else costs.web_s


def _record_s(load: Load, costs: Costs) -> float:
    return costs.record_s + load.fan_out * costs.owe_s


def _bytes(load: Load, costs: Costs) -> float:
    a_delivery = costs.delivery_bytes + load.attempts * costs.attempt_bytes
    return load.payload_bytes + costs.event_bytes + load.fan_out * a_delivery


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/capacity", description="What a load needs. See docs/scaling.md.")
    parser.add_argument("events_s", type=float, metavar="EVENTS_PER_S")
    parser.add_argument("fan_out", type=float, metavar="FAN_OUT")
    parser.add_argument("--attempts", type=float, default=Load.attempts, help="for a delivery")
    parser.add_argument("--payload-bytes", type=int, default=Load.payload_bytes)
    parser.add_argument("--days", type=int, default=Load.days, help="that events are kept")
    parser.add_argument("--receiver-s", type=float, default=Load.receiver_s, help="that receivers take")
    parser.add_argument("--batched", action="store_true", help="a hundred events a request")
    parser.add_argument("--cores", type=int, default=Cell.cores, help="of one primary")
    parser.add_argument("--disk-tb", type=float, default=Cell.disk_bytes / 1e12, help="of one primary")
    parser.add_argument(
        "--core-month", type=float, default=0, help="what a core costs; nothing is known of prices here"
    )
    parser.add_argument("--tb-month", type=float, default=0, help="what a terabyte of disk costs")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    asked = vars(_asked())
    cell = Cell(asked.pop("cores"), asked.pop("disk_tb") * 1e12)
    core, terabyte, seed = asked.pop("core_month"), asked.pop("tb_month"), asked.pop("seed")
    load = Load(**asked)
    planned = plan(load, cell)
    print(json.dumps(asdict(planned), indent=2))
    if core or terabyte:
        cores = planned.web + planned.workers + planned.database_cores
        month = planned.cells * (cores * core + planned.disk_bytes / 1e12 * terabyte)
        print(f"a month: {month:,.0f} for all cells, without standbys")
    print(f"{'':10} {'busy':>13}  {'wait, mean ms':>15}  of 20,000 events of a cell, simulated with seed {seed}")
    for found in simulate(planned.events_s, stations(load, planned), events=20_000, seed=seed):
        busy = f"{found.predicted_busy:.2f} / {found.busy:.2f}"
        wait = f"{found.predicted_wait_s * 1e3:6.3f} / {found.wait_s * 1e3:6.3f}"
        print(f"{found.name:10} {busy:>13}  {wait}  (model / simulation)")


if __name__ == "__main__":
    main()
