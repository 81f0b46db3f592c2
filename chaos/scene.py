"""What every part has: a receiver, the service, and workspaces whose endpoints lead from one to the other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.accounting import Account, account
from chaos.publisher import Producer, Publisher
from chaos.receiver import Receiver
from chaos.service import Service
from chaos.world import World


@dataclass(frozen=True)
class Scene:
    folder: Path  # of the ledgers
    receiver: Receiver
    service: Service
    world: World

    def producer(self) -> Producer:
        return Producer(folder=str(self.folder), urls=[self.service.url], keys=self.world.workspaces)

    @contextmanager
    def publishing(self, rate: float) -> Iterator[Publisher]:
        """Publish so many events a second, in a process of its own."""
        publisher = Publisher(self.folder, urls=[self.service.url], keys=self.world.workspaces, rate=rate)
        try:
            yield publisher
        finally:
            publisher.kill()

    def account(self) -> Account:
        return account(self.folder)


@contextmanager
def scene(
    folder: Path,
    *,
    web: int = 1,
    workers: int = 2,
    workspaces: int = 1,
    mode: str = "honest",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Scene]:
    receiver = Receiver(folder / "received")
    service = Service(folder / "data", web=web, workers=workers, environment=environment or {})
    try:
        world = service.prepare(receiver.url, workspaces=workspaces)
        receiver.tell(secrets=world.secrets, mode=mode)
        service.start()
        yield Scene(folder, receiver, service, world)
    finally:
        service.kill_everything()
        receiver.stop()
