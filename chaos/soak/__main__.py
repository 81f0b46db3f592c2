"""Hours of the same load: what grows that should not. Start it with script/soak."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from chaos import figures, ledger
from chaos.database import wait_for
from chaos.figures import figure, say
from chaos.listener import Listener
from chaos.publisher import Publisher
from chaos.receiver import Receiver
from chaos.service import Service
from chaos.soak import report, samples
from chaos.world import ROOT, TYPES

MINUTES = 60.0
EVERY_S = 10
WARM_UP = 0.25  # of the time, not judged
MAXIMUM_S = 30
TROUBLE_EVERY, TROUBLE = 30, 6  # samples: a minute in five, receivers refuse one request in ten
SOCKETS = 2
_WEBHOOK = """mutation ($name: String!, $url: String!) {
  createWebhookEndpoint(name: $name, url: $url, retryPolicy: {schedule: [1, 1, 2, 2, 5, 5, 10, 10]}) { id }
}"""
_SOCKET = "mutation ($name: String!) { createWebSocketEndpoint(name: $name) { id } }"
_FILTER = """mutation ($name: String!, $pattern: JSON!, $id: ID!) {
  createEventFilters(name: $name, eventFiltersInput: {pattern: $pattern}, endpointIds: [$id]) { id }
}"""


class Soak:
    """A running service with a webhook for each type of events, and websockets for some of them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.receiver = Receiver(folder / "received")
        stack.callback(self.receiver.stop)
        self.service = Service(folder / "data", web=1, workers=1, environment={})
        stack.callback(self.service.kill_everything)
        self.service.run("manage.py", "migrate", "--verbosity", "0")
        made = json.loads(self.service.run("manage.py", "create_workspace", "Soak", "--json"))
        self.workspace_id, self.key = made["workspaceId"], made["apiKey"]
        self.service.start()
        for type in TYPES:
            self._make(_WEBHOOK, type, url=f"{self.receiver.url}/{type}")
        self.listeners = [self._listener(type) for type in TYPES[:SOCKETS]]
        for listener in self.listeners:
            listener.start()
            stack.callback(listener.end)

    def _listener(self, type: str) -> Listener:
        endpoint_id = self._make(_SOCKET, type)
        return Listener(urls=[self.service.url], key=self.key, endpoint_id=endpoint_id)

    def _make(self, mutation: str, type: str, **variables: str) -> str:
        (made,) = self._ask(mutation, name=type, **variables).values()
        self._ask(_FILTER, name=type, pattern={"type": [type]}, id=made["id"])
        return str(made["id"])

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = requests.post(
            f"{self.service.url}/event-service/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=30,
        ).json()
        if "errors" in answer:
            raise RuntimeError(f"{query}: {answer['errors']}")
        data: dict[str, Any] = answer["data"]
        return data

    @contextmanager
    def publishing(self, rate: float, *, name: str) -> Iterator[None]:
        """Publish events whose ids begin with `name` meanwhile, then wait until everything has come."""
        keys = {self.workspace_id: self.key}
        publisher = Publisher(self.folder, urls=[self.service.url], keys=keys, rate=rate, name=name)
        try:
            yield
            publisher.finish()
        finally:
            publisher.kill()
        self.receiver.tell(mode="honest")
        wait_for("everything to be final", self.service.is_final, within_s=600)

    def maximum(self) -> float:
        """Return how many events a second go through, from their publishing until all of them are delivered."""
        started = time.monotonic()
        with self.publishing(rate=1_000_000, name="most"):
            time.sleep(MAXIMUM_S)
        ((events,),) = self.service.ask("SELECT count(*) FROM routing_event")
        return float(events) / (time.monotonic() - started)

    def watch(self, minutes: float, log: Path) -> list[samples.Sample]:
        taken: list[samples.Sample] = []
        started = time.monotonic()
        with log.open("w") as lines:
            while time.monotonic() < started + minutes * 60:
                troubled = len(taken) % TROUBLE_EVERY >= TROUBLE_EVERY - TROUBLE
                self.receiver.tell(mode="troubled" if troubled else "honest")
                taken.append(samples.take(self.service))
                lines.write(json.dumps(asdict(taken[-1])) + "\n")
                lines.flush()
                time.sleep(max(0.0, started + len(taken) * EVERY_S - time.monotonic()))
        return taken


def soak(folder: Path, *, minutes: float, rate: float | None, log: Path) -> None:
    with ExitStack() as stack:
        here = Soak(folder, stack)
        if rate is None:
            rate = here.maximum() / 2
        say(f"{rate:.0f} events/s for {minutes:g} minutes; samples in {log}")
        with here.publishing(rate, name="half"):
            taken = here.watch(minutes, log)
        names = _accepted_names(folder, TYPES[:SOCKETS])
        for type, listener in zip(TYPES, here.listeners, strict=False):
            wait_for("a websocket to have everything", lambda: len(listener.names) >= names[type], within_s=60)  # noqa: B023
            figure(f"numbers in order by websocket, {type}", listener.numbers == [*range(1, names[type] + 1)], True)
        warm = taken[int(len(taken) * WARM_UP) :]
        say(f"  after a warm-up of {(warm[0].at - taken[0].at) / 60:.0f} minutes, {len(warm)} samples:")
        report.tell_processes(warm)
        report.tell_tables(warm)
        oldest = sorted(sample.oldest_due_s for sample in warm)
        say(f"  oldest that was due: {oldest[len(oldest) // 2]:.2f} s in the middle, {oldest[-1]:.2f} s at most")
        report.tell_deliveries(folder)


def _accepted_names(folder: Path, types: Sequence[str]) -> dict[str, int]:
    """Return how many events of each type were accepted."""
    accepted = {line["n"] for line in ledger.read(folder / "accepted") if "id" in line}
    sent = [line["type"] for line in ledger.read(folder / "sent") if line["n"] in accepted]
    return {type: sent.count(type) for type in types}


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=MINUTES)
    parser.add_argument("--rate", type=float, help="events a second; half of what goes through at most, if left out")
    parser.add_argument("--samples", type=Path, default=ROOT / "var" / "soak.jsonl", help="where samples are written")
    given = parser.parse_args()
    given.samples.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="soak-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # started by root, PostgreSQL runs as another user
        soak(Path(folder), minutes=given.minutes, rate=given.rate, log=given.samples)
    if broken := figures.broken():
        parser.exit(1, f"Not as it must be: {', '.join(broken)}\n")


main()
