"""Try the doors that are named, or all of them. Start it with script/fuzz."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from fuzz.running import MAKERS, Bounds, here, run


def main() -> None:
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of all that cleans up
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # started by root, PostgreSQL runs as another user
        with here(Path(folder)) as found:
            run(found, Bounds(asked.seed, asked.count, asked.seconds, asked.only), asked.doors or list(MAKERS))
    print(f"  {time.monotonic() - started:.0f} s")
    if faults := found.judge.faults:
        sys.exit("\n".join([f"{len(faults)} faults:", *faults[:50]]))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("doors", nargs="*", metavar="DOOR", help=", ".join(MAKERS))
    for field, kind in (("seed", int), ("count", int), ("seconds", float), ("only", int)):
        parser.add_argument(f"--{field}", type=kind, default=getattr(Bounds, field))
    asked = parser.parse_args()
    if unknown := set(asked.doors) - set(MAKERS):
        parser.error(f"{', '.join(sorted(unknown))}: no such door; there are {', '.join(MAKERS)}.")
    return asked


main()
