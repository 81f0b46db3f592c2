"""Run the benchmarks that are named, or all of them. Start it with script/bench."""

import os
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
os.environ["PGAPPNAME"] = "benchmark"
django.setup()

from benchmarks import (  # noqa: E402 - they need a Django that is set up
    batches,
    claims,
    compare,
    delivery,
    end_to_end,
    filters,
    idle,
    ingest,
    isolation,
    latency,
    pages,
    profiling,
    prune,
    slow,
    sockets,
    statements,
    wrong_keys,
)
from benchmarks.drivers import EventService, HttpServer  # noqa: E402
from benchmarks.figures import Found  # noqa: E402
from benchmarks.report import ROOT, Recorder, Report  # noqa: E402
from benchmarks.text import line  # noqa: E402
from benchmarks.writing import write  # noqa: E402

Benchmark = Callable[[], Iterable[Found]]
BENCHMARKS: dict[str, Benchmark] = {
    "ingest": ingest.run,
    "batches": batches.run,
    "delivery": delivery.run,
    "end_to_end": end_to_end.run,
    "statements": statements.run,
    "latency": latency.run,
    "isolation": isolation.run,
    "claims": claims.run,
    "sockets": sockets.run,
    "wrong_keys": wrong_keys.run,
    "filters": filters.run,
    "slow": slow.run,
    "prune": prune.run,
    "idle": idle.run,
    "pages": pages.run,
}
ONLY_NAMED = {"pages"}  # takes long, and 8 GB
PROFILES = ROOT / "var/profiles"


def main() -> None:
    options = _options()
    began = time.monotonic()
    call_command("migrate", verbosity=0)
    print(f"{os.cpu_count()} cores, shared by the service, PostgreSQL, the load and the sink", flush=True)
    if options.names == ["compare"]:
        drivers = [EventService(), *map(HttpServer, options.driver)]
        complete = _record({"compare": partial(compare.run, drivers)}, options.out, "compare")
    else:
        names = options.names or [name for name in BENCHMARKS if name not in ONLY_NAMED]
        chosen = {name: BENCHMARKS[name] for name in names}
        complete = _profile(chosen) if options.profile else _record(chosen, options.out, "latest")
    print(f"\n{time.monotonic() - began:.0f} s in all")
    sys.exit(not complete)


def _options() -> Namespace:
    parser = ArgumentParser(prog="script/bench", description=f"Benchmarks: {', '.join(BENCHMARKS)}.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all but {', '.join(ONLY_NAMED)} where none is named")
    parser.add_argument("--profile", action="store_true", help="write where the time goes into var/profiles/NAME")
    parser.add_argument("--driver", action="append", default=[], type=Path, metavar="FILE", help="of compare: a server")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", metavar="FOLDER", help="for what is measured")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS) - {"compare"}:
        parser.error(f"{', '.join(sorted(unknown))}: no such benchmark; there are {', '.join(BENCHMARKS)}, compare.")
    if ("compare" in options.names) != bool(options.driver) or ("compare" in options.names[1:]):
        parser.error("compare is named alone, with one --driver FILE or more; see benchmarks/README.md.")
    return options


def _record(chosen: dict[str, Benchmark], folder: Path, file: str) -> bool:
    """Write after each benchmark. Return whether all of them came to their end."""
    complete = True
    for name, run in chosen.items():
        recorder = Recorder(name)
        try:
            for found in run():
                recorder.take(found)
                print(line(found), flush=True)
        except Exception:  # the others are still worth their time
            traceback.print_exc()
            complete = False
            continue
        report = Report.read(folder, file)
        report.put(recorder.run(), BENCHMARKS)
        write(report, folder)
    return complete


def _profile(chosen: dict[str, Benchmark]) -> bool:
    for name, run in chosen.items():
        folder = PROFILES / name
        with profiling.profiled(folder):
            for found in run():
                print(line(found), flush=True)
        print(f"  {folder.relative_to(ROOT)}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return True


main()
