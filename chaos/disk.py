"""The disk of the database is full, then no longer: nothing that was accepted is lost, and nobody has to help."""

import os
import subprocess
import time
from pathlib import Path

from chaos.database import wait_for
from chaos.figures import at_least, figure, say
from chaos.judge import judge
from chaos.scene import scene
from chaos.service import Service
from chaos.watch import Watch

SIZE = "200m"
FULL_S = 10  # from the first commit that is refused
RATE = 40.0
TIMES = 2


def run(folder: Path, _: float = 0) -> None:
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=711", "chaos", str(data)]
    if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        say("  skipped: it needs root, and a system that lets it mount a tmpfs")
        return
    try:
        _run(folder, data / "filler")
    finally:
        subprocess.run(["umount", str(data)])


def _run(folder: Path, filler: Path) -> None:
    with scene(folder, workspaces=4) as here:
        with here.publishing(RATE) as publisher, Watch(here.service) as watch:
            for _ in range(TIMES):
                _wait_for_accepted(folder)
                _fill(filler)
                _wait_for_refused(here.service)
                time.sleep(FULL_S)
                filler.unlink()
            _wait_for_accepted(folder)
            publisher.finish()
            wait_for("everything to be final", here.service.is_final)
        figure("commits refused while the disk was full", _refused(here.service), TIMES, at_least)
        figure("violations of conservation", watch.violations, 0)
        judge(here.service, here.account())


def _wait_for_accepted(folder: Path) -> None:
    before = _accepted(folder)
    wait_for("events to be accepted", lambda: _accepted(folder) > before + 50)


def _wait_for_refused(service: Service) -> None:
    """Wait until what is written needs more of the disk than was set aside for the log."""
    before = _refused(service)
    wait_for("a commit to be refused", lambda: _refused(service) > before)


def _refused(service: Service) -> int:
    return service.log.read_text().count("were answered 503")


def _accepted(folder: Path) -> int:
    path = folder / "accepted"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def _fill(path: Path) -> None:
    """Take what is left of the disk, to the last page."""
    with path.open("wb", buffering=0) as filler:
        for size in (1 << 20, 4096):
            try:
                while filler.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
