import asyncio
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Awaitable, Callable, Collection
from importlib.util import find_spec
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import CommandError

from endpoints.models import Workspace
from endpoints.telling import TellingCommand
from event_service.metrics import open_process_door
from routing import tracing
from routing.buses.intake import Intake
from routing.buses.messages import Bus

_BATCH = 200
_MOST = 1_000
_SCHEMES = {"--stream": ("nats", "tls"), "--queue": ("amqp", "amqps")}
_PACKAGES = {"--stream": ("nats", "nats-py"), "--queue": ("aio_pika", "aio-pika")}


class Command(TellingCommand):
    help = (
        "Take events from a message bus, EVENT_SERVICE_BUS_URL, into a workspace: a stream of NATS JetStream, or a "
        "queue of RabbitMQ. SIGTERM and ^C finish what is being recorded, and end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", required=True, help="whose events they become: its id or name")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--stream", help="of NATS JetStream")
        source.add_argument("--queue", help="of RabbitMQ")
        parser.add_argument(
            "--durable",
            default="event-service",
            metavar="NAME",
            help="the stream's consumer, which is made where there is none; processes of one name share the messages",
        )
        parser.add_argument(
            "--batch", type=_batch, default=_BATCH, metavar="N", help=f"messages of one transaction; at most {_MOST}"
        )
        parser.add_argument("--number", type=int, default=0, help="which port of the process doors is this one's")

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(tags=[Tags.database], databases=["default"])
        workspace = Workspace.called(options["workspace"])
        counts = asyncio.run(_run(workspace, options))
        listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        self.tell(f"Stopped: {listed}.", **counts)


async def _run(workspace: Workspace, options: dict[str, Any]) -> dict[str, int]:
    name, connect = _source(options)
    intake = Intake(workspace.pk, name, connect, batch=options["batch"])
    open_process_door(options["number"], intake.lives)
    tracing.start()
    await intake.run()
    tracing.stop()
    return intake.counts


def _source(options: dict[str, Any]) -> tuple[str, Callable[[], Awaitable[Bus]]]:
    """Return what the log calls it, and how to connect: to one address after the other, where several are given."""
    option = "--stream" if options["stream"] else "--queue"
    place = _require(option)
    addresses = cycle(settings.BUS_URLS)
    if options["stream"]:
        from routing.buses import jetstream

        stream, durable = options["stream"], options["durable"]
        return f"{jetstream.NAME} {place} {stream}", jetstream.connecting(addresses, stream, durable)
    from routing.buses import rabbitmq

    queue, most = options["queue"], 2 * options["batch"]  # so that the next batch is there when one is recorded
    return f"{rabbitmq.NAME} {place} {queue}", lambda: rabbitmq.connect(next(addresses), queue, most)


def _require(option: str) -> str:
    """Return where the bus is, for the log. Raises CommandError, which repeats no address: it may hold a password."""
    schemes = _SCHEMES[option]
    try:
        places = [_place(url, schemes) for url in settings.BUS_URLS]
    except ValueError:
        places = []
    if not places:
        raise CommandError(
            f"EVENT_SERVICE_BUS_URL is not {schemes[0]}://USER:PASSWORD@HOST:PORT, which {option} needs. "
            "In USER and PASSWORD write / as %2F, ? as %3F, # as %23 and @ as %40."
        )
    module, package = _PACKAGES[option]
    if find_spec(module) is None:
        raise CommandError(f"{option} needs the package {package}: script/setup requirements-buses.txt")
    return ",".join(places)


def _place(url: str, schemes: Collection[str]) -> str:
    """Return HOST:PORT. Raises ValueError for an address of which parts of a password might be taken for that."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if parts.port is None else f"{host}:{parts.port}"


def _batch(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST):
        raise ArgumentTypeError(f"{text!r} is no batch; give a number from 1 to {_MOST}.")
    return int(text)
