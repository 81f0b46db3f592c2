"""What is looked at every few seconds: memory, descriptors and threads of each process, and the tables."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from chaos.service import GONE, Service

MIB = 1 << 20
_KINDS = {"serve": "supervisor", "web": "web", "deliver": "worker"}
_TABLES = """
SELECT coalesce(root.relname, part.relname), sum(part.n_live_tup)::bigint, sum(part.n_dead_tup)::bigint,
       sum(pg_table_size(part.relid))::bigint, sum(pg_indexes_size(part.relid))::bigint
FROM pg_stat_user_tables AS part
LEFT JOIN pg_inherits ON inhrelid = part.relid LEFT JOIN pg_class AS root ON root.oid = inhparent
GROUP BY 1
"""
_OLDEST_DUE_S = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(first.due_at)), 0)::float
FROM routing_lane AS lane CROSS JOIN LATERAL (
    (SELECT due_at FROM routing_delivery AS delivery
     WHERE delivery.endpoint_id = lane.endpoint_id AND due_at IS NOT NULL AND attempts_made = 0 ORDER BY seq LIMIT 1)
    UNION ALL
    (SELECT due_at FROM routing_delivery AS delivery
     WHERE delivery.endpoint_id = lane.endpoint_id AND due_at IS NOT NULL AND attempts_made > 0 AND state = 'PENDING'
     ORDER BY due_at, seq LIMIT 1)
) AS first WHERE first.due_at < clock_timestamp()
"""


@dataclass(frozen=True)
class Process:
    """`private` is what this process alone holds (RssAnon): shared buffers and libraries are not in it. In bytes."""

    pids: list[int]
    rss: int
    private: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Table:
    live: int
    dead: int
    bytes: int
    index_bytes: int

    @property
    def size(self) -> int:
        return self.bytes + self.index_bytes


@dataclass(frozen=True)
class Sample:
    at: float  # of time.time()
    processes: dict[str, Process]  # by name: supervisor, web 1, worker 1, PostgreSQL (all of its processes together)
    tables: dict[str, Table]
    oldest_due_s: float


def take(service: Service) -> Sample:
    with service.connect() as connection:
        connection.execute("SET enable_seqscan = off")  # as the service itself has it
        tables = {name: Table(*figures) for name, *figures in connection.execute(_TABLES)}
        row = connection.execute(_OLDEST_DUE_S).fetchone()
    return Sample(time.time(), _processes(service), tables, row[0] if row else 0.0)


def _processes(service: Service) -> dict[str, Process]:
    found: dict[str, Process] = {}
    for command, kind in _KINDS.items():
        running = sorted(service.processes(command), key=lambda process: process.pid)
        found |= {f"{kind} {n}": measured([process]) for n, process in enumerate(running, 1)}
    if postmaster := service.postmaster():
        found["PostgreSQL"] = measured([postmaster, *postmaster.children()])
    return found


def measured(processes: list[psutil.Process]) -> Process:
    pids, found = [], []
    for process in processes:
        with suppress(*GONE, OSError, KeyError):  # one that just ends has no sizes
            status = _status(process.pid)
            found.append((status["VmRSS"], status["RssAnon"], process.num_fds(), process.num_threads()))
            pids.append(process.pid)
    return Process(pids, *(map(sum, zip(*found, strict=True)) if found else (0, 0, 0, 0)))


def _status(pid: int) -> dict[str, int]:
    """Return the sizes of /proc/PID/status, in bytes."""
    lines = [line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return {line[0].removesuffix(":"): int(line[1]) * 1024 for line in lines if line[-1:] == ["kB"]}
