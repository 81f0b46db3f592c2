"""Where the time goes: py-spy beside each process under test, and the statements of PostgreSQL's log.

For each kind of process it writes `KIND.txt`, a list of the functions that most samples were in, and `KIND.collapsed`,
the stacks with their samples, which speedscope.app and flamegraph.pl read. What waits is not sampled.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryDirectory

from benchmarks import sql

RATE = 100  # samples a second
TOP = 40
_WAITS = {  # where a thread waits in C, which py-spy can't always tell from work
    "EpollSelector.select (selectors.py)",
    "Condition.wait (threading.py)",
    "Connection.wait (psycopg/connection.py)",
    "_wait (routing/lifeline.py)",
    "_worker (concurrent/futures/thread.py)",
}
_profiler: "_Profiler | None" = None


def watch(kind: str, pid: int) -> None:
    """Sample a process from now on until it ends, if this is a run for its profile."""
    if _profiler:
        _profiler.watch(kind, pid)


@contextmanager
def profiled(folder: Path) -> Iterator[None]:
    """Sample the processes that are watched meanwhile, this one too, and write into the folder what was found."""
    global _profiler
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as raw, sql.listening(but="") as sent:
        _profiler = _Profiler(Path(raw))
        try:
            watch("benchmark", os.getpid())
            yield
        finally:
            stacks, _profiler = _profiler.end(), None
    for kind, found in stacks.items():
        (folder / f"{kind}.collapsed").write_text("".join(f"{stack} {n}\n" for stack, n in found.most_common()))
        (folder / f"{kind}.txt").write_text(top(found))
    (folder / "PostgreSQL.txt").write_text(top_statements(sent))


class _Profiler:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._running: list[tuple[str, Path, Popen[str]]] = []

    def watch(self, kind: str, pid: int) -> None:
        out = self._folder / f"{next(self._numbers)}.raw"
        spy = Path(sys.executable).with_name("py-spy")
        command = [str(spy), "record", "--pid", str(pid), "--rate", str(RATE), "--format", "raw", "--output", str(out)]
        self._running.append((kind, out, Popen(command, stdout=DEVNULL, stderr=PIPE, text=True)))

    def end(self) -> dict[str, Counter[str]]:
        """Return the stacks of each kind, and how often they were seen. Raises RuntimeError where py-spy can't look."""
        stacks: dict[str, Counter[str]] = {}
        for kind, out, process in self._running:
            said = _finish(process)
            if not out.exists():
                raise RuntimeError(f"py-spy wrote nothing of a {kind} process (it may look as root alone): {said}")
            stacks.setdefault(kind, Counter()).update(working(out.read_text()))
        return stacks


def _finish(process: Popen[str]) -> str:
    """Have py-spy write what it has; it ends by itself with what it looks at."""
    try:
        return process.communicate(timeout=1)[1]
    except TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=30)[1]


def working(raw: str) -> Counter[str]:
    """Return the stacks of py-spy's lines, and how often they were seen, without those that wait."""
    found = (line.rpartition(" ") for line in raw.splitlines())
    return Counter({stack: int(n) for stack, _, n in found if stack and _function(stack.split(";")[-1]) not in _WAITS})


def top(stacks: Counter[str]) -> str:
    """Return the functions by the samples that they were in themselves, and with what they called."""
    own, with_callees = Counter[str](), Counter[str]()
    for stack, samples in stacks.items():
        functions = [_function(frame) for frame in stack.split(";")]
        own[functions[-1]] += samples
        with_callees.update(dict.fromkeys(functions, samples))
    total = max(stacks.total(), 1)
    lines = [f"{stacks.total():,} samples, {RATE} a second for each process", "", "  self   all  function"]
    lines += [_line(own[name], with_callees[name], total, name) for name, _ in own.most_common(TOP)]
    lines += ["", "  self   all  function, by all"]
    lines += [_line(own[name], with_callees[name], total, name) for name, _ in with_callees.most_common(TOP)]
    return "\n".join([*lines, ""])


def _line(own: int, with_callees: int, total: int, name: str) -> str:
    return f"{own / total:6.1%}{with_callees / total:6.1%}  {name}"


def _function(frame: str) -> str:
    """`name (path/to/file.py:12)` without the line."""
    return f"{frame.rpartition(':')[0]})" if frame.endswith(")") and ":" in frame else frame


def top_statements(sent: sql.Sent) -> str:
    total_ms = max(sent.ms.total(), 1e-9)
    lines = [f"{sent.of():,} statements, {total_ms:,.0f} ms by PostgreSQL's own clock", ""]
    lines += ["   ms all     calls   ms each  by"]
    for statement, ms in sent.ms.most_common(TOP):
        calls = sent.calls[statement]
        lines.append(
            f"{ms / total_ms:9.1%} {calls:9,} {ms / max(calls, 1):9.3f}  {statement.kind}: {statement.text[:200]}"
        )
    return "\n".join([*lines, ""])
