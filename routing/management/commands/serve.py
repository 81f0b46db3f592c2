import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import CommandError
from django.db import connections

from endpoints.telling import TellingCommand
from routing.supervisor import CHECKED, Supervisor, count, managed, workers

_BACKLOG = 1024  # connections that wait while every web process is busy or starting


class Command(TellingCommand):
    help = "The whole service: web processes and delivery workers under one supervisor. SIGTERM and ^C drain it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=_port, default=settings.PORT, help="0 takes a free one")
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--web", type=count, default=1, metavar="N", help="web processes")
        parser.add_argument(
            "--workers",
            type=partial(count, least=0),
            default=1,
            metavar="N",
            help="delivery processes; 0: elsewhere",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(tags=[Tags.database], databases=["default"])
        cast(Any, connections["default"]).close_pool()  # the processes that are started have their own
        listener = _listen(options["host"], options["port"])
        address = _address(options["host"], listener.getsockname()[1])
        supervisor = Supervisor(
            listener,
            web=[managed("web", *CHECKED, "--number", str(number)) for number in range(options["web"])],
            workers=workers(options["workers"], first_number=options["web"]),
            on_ready=lambda: self._say_ready(f"http://{address}/event-service/graphql"),
        )
        if not supervisor.run():
            sys.exit(1)

    def _say_ready(self, url: str) -> None:
        self.tell(f"Ready: {url}", ready=url)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        problem = error.strerror if isinstance(error, OSError) else "a port is between 0 and 65535"
        raise CommandError(
            f"Can't listen on {_address(host, port)}: {problem}. Choose another --host or --port (or HOST, PORT)."
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535.")
    return int(text)
