"""Keeps the processes of the service running on one listening socket, and ends them together."""

import asyncio
import logging
import os
import signal
import socket
import sys
from argparse import ArgumentTypeError
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings

logger = logging.getLogger(__name__)

RESTART_S = 1  # a child that dies at once is started again no more often
GRACE_S = 36  # the web server's drain, and a worker's last attempts, whose deadline is up to 30 s, with their settling


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    command: Sequence[str]
    fds: tuple[int, ...]


class Supervisor:
    """Runs `web` and `workers`, one process for each command, until SIGTERM or SIGINT.

    Each command gets `--lifeline FD` (see routing.lifeline). A web command also gets `--listener FD`, the socket,
    and `--ready FD`, to which it writes one byte when it serves; `on_ready` is called once, when all of them did.
    Workers alone need no socket, and nobody is told of them.
    """

    def __init__(
        self,
        listener: socket.socket | None = None,
        *,
        web: Sequence[Sequence[str]] = (),
        workers: Sequence[Sequence[str]],
        on_ready: Callable[[], object] = lambda: None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._listener = listener
        self._on_ready = on_ready
        self._grace_s = grace_s
        self._unready = len(web)
        self._lifeline, self._life = os.pipe()  # `_life` is never written to: it ends with this process
        self._ready, ready = os.pipe()
        alive = {"--lifeline": self._lifeline}
        served = {"--ready": ready, **alive} | ({"--listener": listener.fileno()} if listener else {})
        self._children = [_child(f"web {n}", command, served) for n, command in enumerate(web, 1)]
        self._children += [_child(f"worker {n}", command, alive) for n, command in enumerate(workers, 1)]
        self._processes: set[Process] = set()

    def run(self) -> bool:
        """Return once every child has ended; False where one had to be killed."""
        return asyncio.run(self._run())

    async def _run(self) -> bool:
        self._stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        loop.add_reader(self._ready, self._count_ready)
        keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        await self._stopping.wait()
        if self._listener:
            self._listener.close()
        self._signal_all(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._grace_s)
        if late:
            logger.error("Killing %d processes, %g s after the signal to stop", len(late), self._grace_s)
            self._signal_all(signal.SIGKILL)
        await asyncio.gather(*keepers)
        return not late

    def _count_ready(self) -> None:
        self._unready -= len(os.read(self._ready, 64))
        if self._unready <= 0:
            asyncio.get_running_loop().remove_reader(self._ready)
            self._on_ready()

    async def _keep(self, child: Child) -> None:
        """Run `child`, again and again, until the end."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            try:
                process, code = await self._run_once(child)
            except (OSError, RuntimeError) as error:  # no memory, or no room for a process or a thread, just now
                logger.error("%s could not be started, trying again: %s", child.name, error)
            else:
                if not self._stopping.is_set():
                    logger.error("%s (pid %d) ended with %d; starting it again", child.name, process.pid, code)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(started + RESTART_S):
                    await self._stopping.wait()

    async def _run_once(self, child: Child) -> tuple[Process, int]:
        # In a session of its own, ^C in the terminal reaches the supervisor alone.
        process = await asyncio.create_subprocess_exec(
            *child.command, stdin=DEVNULL, pass_fds=child.fds, start_new_session=True
        )
        self._processes.add(process)
        if self._stopping.is_set():  # the signal came while this one was being started
            process.terminate()
        code = await process.wait()
        self._processes.remove(process)
        return process, code

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)


def _child(name: str, command: Sequence[str], fds: dict[str, int]) -> Child:
    options = [text for option, fd in fds.items() for text in (option, str(fd))]
    return Child(name, [*command, *options], tuple(fds.values()))


CHECKED = ("--skip-checks",)  # whoever starts a process has looked at the same settings


def managed(*arguments: str) -> list[str]:
    """Return how a command of ours is started."""
    if settings.CHECKOUT:
        return [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    return [sys.executable, "-P", "-m", "event_service", *arguments]  # -P: never what lies in the current folder


def workers(processes: int, *options: str, first_number: int) -> list[list[str]]:
    """Return the commands of so many delivery workers, whose process doors have the numbers from `first_number` on."""
    numbers = (str(first_number + number) for number in range(processes))
    return [managed("deliver", *CHECKED, "--number", number, *options) for number in numbers]


def count(text: str, *, least: int = 1) -> int:
    """Read an option that says how many processes there are."""
    if not text.isdecimal() or int(text) < least:
        raise ArgumentTypeError(f"{text!r} is no number of processes; give {least} or more.")
    return int(text)
