"""How a child notices that its parent is gone, even after a kill -9."""

import os
import signal
import threading


def watch(fd: int) -> None:
    """Send this process SIGTERM when the other end of the pipe `fd` is closed.

    Only the parent holds the other end and never writes, so that the end of the parent is the end of the pipe.
    """
    threading.Thread(target=_wait, args=[fd], name="lifeline", daemon=True).start()


def _wait(fd: int) -> None:
    os.read(fd, 1)
    os.kill(os.getpid(), signal.SIGTERM)
