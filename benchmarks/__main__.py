"""Run the benchmarks that are named, or all of them. Start it with script/bench."""

import os
import sys
import time

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
django.setup()

from benchmarks import (  # noqa: E402 - they need a Django that is set up
    batches,
    claims,
    delivery,
    filters,
    ingest,
    isolation,
    latency,
    pages,
    prune,
    slow,
    sockets,
    wrong_keys,
)

BENCHMARKS = {
    "ingest": ingest.run,
    "batches": batches.run,
    "delivery": delivery.run,
    "latency": latency.run,
    "isolation": isolation.run,
    "claims": claims.run,
    "sockets": sockets.run,
    "wrong_keys": wrong_keys.run,
    "filters": filters.run,
    "slow": slow.run,
    "prune": prune.run,
    "pages": pages.run,
}


def main(names: list[str]) -> None:
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"{', '.join(sorted(unknown))}: no such benchmark; there are {', '.join(BENCHMARKS)}.")
    started = time.monotonic()
    call_command("migrate", verbosity=0)
    print(f"{os.cpu_count()} cores, shared by the service, PostgreSQL, the load and the sink", flush=True)
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()
    print(f"\n{time.monotonic() - started:.0f} s in all")


main(sys.argv[1:])
