"""CPU time and memory of the processes under test, by kind.

CPU is what the kernel counted for them and for children that have ended. Memory is the proportional set size (PSS: a
page that n processes share counts an nth for each), added up over the kind's processes and looked at once a second; on
systems that do not know it, the resident set size.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

from benchmarks.figures import Cost, Spent
from event_service.postgres.embedded.server import embedded_server

EVERY_S = 1


def service_meter(**roots: Sequence[psutil.Process]) -> "Meter":
    """Return a meter of these kinds and of the embedded PostgreSQL."""
    return Meter({**roots, "PostgreSQL": [postgres()]})


def postgres() -> psutil.Process:
    """Return the embedded server's first process, whose children are all the others."""
    return psutil.Process(int((embedded_server().data / "postmaster.pid").read_text().split()[0]))


class Meter:
    """`with meter:` measures, as often as needed; `cost` tells of all these times together."""

    def __init__(self, roots: Mapping[str, Sequence[psutil.Process]]) -> None:
        """Give the processes of each kind; their descendants count, too."""
        self._roots = dict(roots)
        self._cpu_s = dict.fromkeys(self._roots, 0.0)
        self._peak = dict.fromkeys(self._roots, 0)

    def __enter__(self) -> "Meter":
        self._before = self._cpu_now()
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watching.join()
        for kind, spent in self._cpu_now().items():
            self._cpu_s[kind] += spent - self._before[kind]

    def cost(self, name: str, count: int, unit: str) -> Cost:
        """Return what a thousand of `count` have cost."""
        by = {kind: Spent(self._cpu_s[kind] * 1000 / count, self._peak[kind] / (1 << 20)) for kind in self._roots}
        return Cost(name=name, unit=unit, by=by)

    def cpu_s(self) -> float:
        return sum(self._cpu_s.values())

    def _cpu_now(self) -> dict[str, float]:
        return {kind: sum(map(_cpu_s, roots)) for kind, roots in self._roots.items()}

    def _watch(self) -> None:
        while True:
            for kind, roots in self._roots.items():
                self._peak[kind] = max(self._peak[kind], sum(map(_memory, roots)))
            if self._ended.wait(EVERY_S):
                return


def _family(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]


def _cpu_s(root: psutil.Process) -> float:
    ended = root.cpu_times()
    total = getattr(ended, "children_user", 0) + getattr(ended, "children_system", 0)
    for process in _family(root):
        with suppress(psutil.NoSuchProcess):
            spent = process.cpu_times()
            total += spent.user + spent.system
    return total


def _memory(root: psutil.Process) -> int:
    total = 0
    for process in _family(root):
        with suppress(psutil.NoSuchProcess):
            found = process.memory_full_info()
            total += getattr(found, "pss", found.rss)
    return total
