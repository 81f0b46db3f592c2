"""Run the parts that are named, or all of them. Start it with script/chaos."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chaos import (
    clocks,
    disk,
    figures,
    machines,
    migrating,
    points,
    poison,
    restoring,
    sockets,
    stale,
    storm,
    upgrading,
)

MINUTES = 10.0
PARTS: dict[str, Callable[[Path, float], None]] = {
    "storm": storm.run,
    "points": points.run,
    "migrating": migrating.run,
    "stale": stale.run,
    "clocks": clocks.run,
    "disk": disk.run,
    "poison": poison.run,
    "sockets": sockets.run,
    "machines": machines.run,
    "upgrading": upgrading.run,
    "restoring": restoring.run,
}


def main(arguments: list[str]) -> None:
    minutes = MINUTES
    if arguments and arguments[0].replace(".", "", 1).isdecimal():
        minutes = float(arguments.pop(0))
    if unknown := set(arguments) - set(PARTS):
        sys.exit(f"{', '.join(sorted(unknown))}: no such part; there are {', '.join(PARTS)}.")
    for name in arguments or PARTS:
        figures.say(f"{name}:")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)  # started by root, PostgreSQL runs as another user
            PARTS[name](Path(folder), minutes)
        figures.say(f"  {time.monotonic() - started:.0f} s")
    if broken := figures.broken():
        sys.exit(f"Not as it must be: {', '.join(broken)}")


main(sys.argv[1:])
