"""The figures of the benchmarks that were run on this machine, as JSON. Its readable forms are made from it alone."""

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Cost, Figure, Found

ROOT = Path(__file__).resolve().parent.parent


class Run(msgspec.Struct, kw_only=True):
    """One benchmark at one time. Load averages are of one minute, and count the benchmark's own load at its end."""

    benchmark: str
    began_at: str
    seconds: float
    commit: str
    load_before: float
    load_after: float
    figures: list[Figure]
    costs: list[Cost]


class Report(msgspec.Struct, kw_only=True):
    name: str  # of its files
    machine: str
    runs: list[Run] = []

    @classmethod
    def read(cls, folder: Path, name: str) -> "Report":
        """Return what is kept in the folder, or an empty one where there is nothing of this machine."""
        path = folder / f"{name}.json"
        kept = msgspec.json.decode(path.read_bytes(), type=cls) if path.exists() else None
        return kept if kept and kept.machine == machine() else cls(name=name, machine=machine())

    def put(self, run: Run, order: Iterable[str]) -> None:
        """Add a run in the place of an earlier one of the same benchmark."""
        runs = {each.benchmark: each for each in self.runs} | {run.benchmark: run}
        self.runs = [runs[benchmark] for benchmark in dict.fromkeys([*order, *runs]) if benchmark in runs]

    def json(self) -> bytes:
        document = msgspec.to_builtins(self)
        for run, made in zip(self.runs, document["runs"], strict=True):
            made["figures"] = [_judged(figure) for figure in run.figures]
        return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def _judged(figure: Figure) -> dict[str, Any]:
    return msgspec.to_builtins(figure) | {"met": figure.met}


class Recorder:
    """Takes what a benchmark finds; `run()` is the record of it."""

    def __init__(self, benchmark: str) -> None:
        self._benchmark = benchmark
        self._began_at, self._began = datetime.now(UTC), time.monotonic()
        self._load_before = _load()
        self._found: list[Found] = []

    def take(self, found: Found) -> None:
        self._found.append(found)

    def run(self) -> Run:
        return Run(
            benchmark=self._benchmark,
            began_at=f"{self._began_at:%Y-%m-%d %H:%M} UTC",
            seconds=round(time.monotonic() - self._began, 1),
            commit=commit(),
            load_before=self._load_before,
            load_after=_load(),
            figures=[each for each in self._found if isinstance(each, Figure)],
            costs=[each for each in self._found if isinstance(each, Cost)],
        )


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory_gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """Return which commit this is, and whether files differ from it; "unknown" outside of a checkout."""
    try:
        hash_ = _git("rev-parse", "--short", "HEAD")
        return f"{hash_} with changes" if _git("status", "--porcelain", "--", ":!benchmarks/latest.*") else hash_
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
