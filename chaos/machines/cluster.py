"""One PostgreSQL, two machines for web, two for workers, one for producers and one for receivers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from cryptography.fernet import Fernet

from chaos import ledger
from chaos.database import wait_for
from chaos.listener import Listener, make_endpoint
from chaos.machines.network import NETWORK, Machine, network
from chaos.machines.postgres import Postgres
from chaos.publisher import Producer, Publisher
from chaos.receiver import Receiver
from chaos.world import ROOT, World

PORT = 8000
MACHINES = 7
TAIL_BYTES = 10_000  # of a ledger: some dozens of lines
_LISTENING = (
    "SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE query LIKE 'LISTEN %%' AND client_addr = %s"
)


@dataclass(frozen=True)
class Node:
    """A machine that runs one process of the service at a time."""

    machine: Machine
    environment: dict[str, str]
    log: Path

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [*self.machine.on, sys.executable, "manage.py", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()  # its children end by themselves
                process.wait()


class Cluster:
    def __init__(self, folder: Path, machines: Sequence[Machine], stack: ExitStack) -> None:
        self.folder = folder
        database, *nodes, self._producers, receivers = machines
        self.database = Postgres(database, folder)
        self.database.start()
        stack.callback(self.database.stop)
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.database.url,
            "SECRET_KEY": "x" * 50,
            "EVENT_SERVICE_SEALING_KEYS": Fernet.generate_key().decode(),
            "EVENT_SERVICE_EGRESS_ALLOW": NETWORK,
            "ALLOWED_HOSTS": "*",
        }
        self.webs, self.workers = _halves([Node(node, environment, folder / f"{node.address}.log") for node in nodes])
        self.urls = [f"http://{web.machine.address}:{PORT}" for web in self.webs]
        self.receiver = Receiver(folder / "received", host=receivers.address, on=receivers.on)
        stack.callback(self.receiver.stop)
        _run(environment, "manage.py", "migrate", "--verbosity", "0")
        self.world = World.parse(_run(environment, "-m", "chaos.world", self.receiver.url, "2"))
        self.receiver.tell(secrets=self.world.secrets)

    def start_webs(self, stack: ExitStack) -> None:
        for web, url in zip(self.webs, self.urls, strict=True):
            stack.enter_context(
                web.running("serve", "--host", web.machine.address, "--port", str(PORT), "--workers", "0")
            )
            wait_for(f"{url} to be ready", lambda: _is_ready(url))  # noqa: B023

    @contextmanager
    def working(self, workers: Sequence[Node], *, threads: int) -> Iterator[None]:
        with ExitStack() as stack:
            for worker in workers:
                stack.enter_context(worker.running("deliver", "--threads", str(threads)))
                wait_for("a worker to listen", lambda: self.is_listening(worker))  # noqa: B023
            yield

    def is_listening(self, node: Node) -> bool:
        return self.database.ask(_LISTENING, node.machine.address) == [(1,)]

    def has_sent(self, node: Node, *, since: float) -> bool:
        """Tell whether a receiver got something from there that was published after that time."""
        new = {line["n"] for line in ledger.read(self.folder / "sent") if line["at"] > since}
        received = ledger.read(self.folder / "received")
        return any(line["host"] == node.machine.address and line["n"] in new for line in received)

    def is_sending(self, node: Node, *, within_s: float) -> bool:
        """Tell whether a receiver got something from there so recently that it has not answered."""
        with (self.folder / "received").open("rb") as file:
            file.seek(-min(TAIL_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = map(json.loads, file.read().splitlines()[1:])
        soon = time.time() - within_s
        return any(line["host"] == node.machine.address and line["at"] > soon for line in lines)

    def is_ready(self, node: Node) -> bool:
        return _is_ready(f"http://{node.machine.address}:{PORT}")

    @contextmanager
    def publishing(self, rate: float) -> Iterator[None]:
        """Publish from half of the producers to one web machine first, and from the others to the other.

        Returns when everything is accepted.
        """
        ways = {"a": self.urls, "b": self.urls[::-1]}
        publishers = [
            Publisher(
                *(self.folder,),
                urls=urls,
                keys=self.world.workspaces,
                rate=rate / len(ways),
                name=name,
                on=self._producers.on,
            )
            for name, urls in ways.items()
        ]
        try:
            yield
            for publisher in publishers:
                publisher.finish()
        finally:
            for publisher in publishers:
                publisher.kill()

    def producer(self) -> Producer:
        return Producer(folder=str(self.folder), urls=self.urls, keys=self.world.workspaces)

    def listeners(self) -> list[Listener]:
        """Return clients of a websocket endpoint each: one comes to the first web machine, one to the second."""
        key = next(iter(self.world.workspaces.values()))
        return [
            Listener(urls=urls, key=key, endpoint_id=make_endpoint(self.urls[0], key))
            for urls in (self.urls, self.urls[::-1])
        ]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Raises PermissionError where the system allows no namespaces."""
    with network(MACHINES) as machines, ExitStack() as stack:
        made = Cluster(folder, machines, stack)
        made.start_webs(stack)
        yield made


def _halves(nodes: list[Node]) -> tuple[list[Node], list[Node]]:
    return nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]


def _run(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False
