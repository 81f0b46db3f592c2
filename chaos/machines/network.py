"""Machines in network namespaces around a switch, each with an address: Linux alone, and root.

The switch is in a namespace that this process enters, each machine in one that a child holds: all are gone when this
process is, however it ends, and the system's own network was never touched.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.database import wait_for

NETWORK = "10.231.0.0/24"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OURS = Path("/proc/thread-self/ns/net")
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """`on` begins each command that is to run there."""

    def __init__(self, number: int) -> None:
        self.address = f"10.231.0.{number}"
        self._port = f"port{number}"
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)  # ends with our end of it
        namespace = Path(f"/proc/{self._holder.pid}/ns/net")
        wait_for("a network namespace", lambda: namespace.readlink() != _OURS.readlink())
        self.on = ["nsenter", f"--net={namespace}"]
        cable = f"link add {self._port} master switch up type veth peer name eth0 netns {self._holder.pid}"
        _ip(*cable.split())
        for command in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            subprocess.run([*self.on, "ip", *command.split()], check=True)

    def cut_off(self) -> None:
        """Pull its cable: whatever it has to say, and what is said to it, is gone without a word."""
        _ip("link", "set", self._port, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self._port, "up")

    def close(self) -> None:
        self._holder.communicate()


@contextmanager
def network(machines: int) -> Iterator[list[Machine]]:
    """Give so many machines. Meanwhile this thread, and what it starts, is in a namespace with the switch: 10.231.0.1.

    Raises PermissionError where the system allows no namespaces.
    """
    made: list[Machine] = []
    with _OURS.open() as before:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            for command in ("link set lo up", "link add switch up type bridge", "addr add 10.231.0.1/24 dev switch"):
                _ip(*command.split())
            for number in range(machines):
                made.append(Machine(number + 11))
            yield made
        finally:
            for machine in made:
                machine.close()
            _check(_libc.setns(before.fileno(), _CLONE_NEWNET))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _check(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
