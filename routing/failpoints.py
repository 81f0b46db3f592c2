"""Named points at which the chaos suite has a process killed or stopped. Elsewhere nothing happens at them."""

import os
import signal

from django.conf import settings


def reach(name: str) -> None:
    """Send this process the signal that is written in the file of that name, once: the file is taken."""
    if settings.FAILPOINTS is None:
        return
    armed = settings.FAILPOINTS / name
    try:
        number = signal.Signals[armed.read_text()]
        armed.unlink()
    except FileNotFoundError:  # not armed, or another process came first
        return
    os.kill(os.getpid(), number)
