import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from event_service_client import Client, RequestRefused, Unavailable
from event_service_client.backoff import pause_s
from event_service_client.django.forwarder import Forwarder
from event_service_client.publishing import MOST_EVENTS

POLL_S = 1


class Command(BaseCommand):
    help = "Send the events of the outbox to Event Service, until SIGTERM or ^C; several may run at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="end when nothing is due")
        parser.add_argument("--batch", type=int, default=500, help=f"events in a request, up to {MOST_EVENTS}")
        parser.add_argument("--database", default="default", help="the database that has the outbox")

    def handle(self, *_: Any, once: bool, batch: int, database: str, **options: Any) -> None:
        if not 1 <= batch <= MOST_EVENTS:
            raise CommandError(f"--batch is {batch}; give 1 to {MOST_EVENTS}.")
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        with _client() as client:
            try:
                self._forward(Forwarder(client, database=database, batch=batch), stopping, once=once)
            except RequestRefused as refused:
                raise CommandError(f"{refused} Look at EVENT_SERVICE_URL and EVENT_SERVICE_KEY.") from refused

    def _forward(self, forwarder: Forwarder, stopping: threading.Event, *, once: bool) -> None:
        failures = 0
        while not stopping.is_set():
            try:
                done = forwarder.forward()
            except Unavailable as problem:
                if once:
                    raise CommandError(f"{problem} What is left in the outbox stays there.") from problem
                failures += 1
                self.stderr.write(str(problem))
                stopping.wait(max(problem.retry_after_s or 0, pause_s(failures)))
                continue
            failures = 0
            if done.sent or done.refused:
                self.stdout.write(f"{done.sent} sent, {done.refused} refused.")
            elif once:
                return
            else:
                stopping.wait(POLL_S)


def _client() -> Client:
    given = {name: getattr(settings, f"EVENT_SERVICE_{name}", "") for name in ("URL", "KEY")}
    try:
        return Client(given["URL"], given["KEY"], tries=1)  # the command tries again by itself
    except ValueError as error:
        raise CommandError(f"The settings EVENT_SERVICE_URL and EVENT_SERVICE_KEY: {error}") from error
