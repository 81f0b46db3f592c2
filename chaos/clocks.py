"""The clocks of the service's processes are set: what counts is the database's."""

import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from chaos import ledger
from chaos.database import wait_for
from chaos.figures import at_most, figure, say
from chaos.judge import judge
from chaos.receiver import PROCESSED
from chaos.scene import scene

STEPS_S = (3600, -3600, 600, -600, 0)
EACH_S = 8
RATE = 20.0
TOLERANCE_S = 300  # a receiver's, for the signature's timestamp
_TOO_EARLY = """
SELECT count(*) FROM routing_attempt AS again
JOIN routing_attempt AS failed ON failed.delivery_id = again.delivery_id AND failed.number = again.number - 1
WHERE again.started_at < failed.started_at + interval '0.5 seconds'
"""


def run(folder: Path, _: float = 0) -> None:
    library, offset = folder / "clock.so", folder / "offset"
    if not (sys.platform == "linux" and _compiled(library)):
        say("  skipped: it needs Linux and a C compiler, cc")
        return
    _set(offset, 0)
    environment = {"LD_PRELOAD": str(library), "CHAOS_OFFSET": str(offset)}
    with scene(folder, workspaces=4, mode="faulty", environment=environment) as here:
        with here.publishing(RATE) as publisher:
            for step_s in STEPS_S:
                _set(offset, step_s)
                time.sleep(EACH_S)
            publisher.finish()
        here.receiver.tell(mode="honest")
        started = time.monotonic()
        wait_for("everything to be final", here.service.is_final)
        figure("seconds until all was final", time.monotonic() - started, 20, at_most)
        judge(here.service, here.account())
        figure("seconds that a signature's time was off", _worst(folder), TOLERANCE_S, at_most)
        ((early,),) = here.service.ask(_TOO_EARLY)
        figure("attempts before their time", early, 0)
        ((lost,),) = here.service.ask("SELECT count(*) FROM routing_attempt WHERE error = 'WORKER_LOST'")
        figure("leases that ended early", lost, 0)


def _compiled(library: Path) -> bool:
    source = str(Path(__file__).with_name("clock.c"))
    return bool(shutil.which("cc")) and not subprocess.call(["cc", "-shared", "-fPIC", "-o", str(library), source])


def _set(offset: Path, seconds: int) -> None:
    """In place: the processes have the file mapped."""
    with offset.open("r+b" if offset.exists() else "wb") as file:
        file.write(struct.pack("=q", seconds))


def _worst(folder: Path) -> float:
    lines = [line for line in ledger.read(folder / "received") if line["answer"] in PROCESSED]
    return max(float(abs(line["at"] - float(line["signed"]))) for line in lines)
