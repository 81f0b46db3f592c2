import logging
import os
import resource
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from endpoints.telling import GENERAL
from event_service.asgi import application
from event_service.metrics import open_process_door
from event_service.server import Edge, Server
from routing import lifeline, tracing


class Command(BaseCommand):
    suppressed_base_arguments = GENERAL
    help = "One web process, on a socket that its parent listens on. `serve` starts these; people start `serve`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listener", type=int, required=True, help="file descriptor of the socket")
        parser.add_argument("--ready", type=int, required=True, help="gets one byte when this process serves")
        parser.add_argument("--number", type=int, default=0, help="which port of the process doors is this one's")
        parser.add_argument("--lifeline", type=int, required=True, help="a pipe that ends with the parent")

    def handle(self, *args: Any, **options: Any) -> None:
        lifeline.watch(options["lifeline"])
        listener = socket.socket(fileno=options["listener"])
        _open_as_many_files_as_allowed()
        server = Server(application, listener, on_ready=lambda: os.write(options["ready"], b"."), edge=_edge())
        open_process_door(options["number"], server.lives)
        tracing.start()
        server.run()
        tracing.stop()
        _exit()


def _edge() -> Edge:
    return Edge(
        hosts=settings.ALLOWED_HOSTS,
        proxies=settings.TRUSTED_PROXIES,
        hsts_s=settings.SECURE_HSTS_SECONDS,
        connections=settings.CONNECTIONS_PER_PROCESS,
        connections_per_address=settings.CONNECTIONS_PER_ADDRESS,
    )


def _open_as_many_files_as_allowed() -> None:
    """Each connection is one, and the usual limit of 1,024 is soft."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _exit() -> None:
    """End now: an ordinary exit waits for threads, and a view that missed the drain's deadline may never end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
