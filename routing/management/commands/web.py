import logging
import os
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from event_service.asgi import application
from event_service.server import Server
from routing import lifeline


class Command(BaseCommand):
    help = "One web process, on a socket that its parent listens on. `serve` starts these; people start `serve`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listener", type=int, required=True, help="file descriptor of the socket")
        parser.add_argument("--ready", type=int, required=True, help="gets one byte when this process serves")
        parser.add_argument("--lifeline", type=int, required=True, help="a pipe that ends with the parent")

    def handle(self, *args: Any, **options: Any) -> None:
        lifeline.watch(options["lifeline"])
        listener = socket.socket(fileno=options["listener"])
        Server(application, listener, on_ready=lambda: os.write(options["ready"], b".")).run()
        _exit()


def _exit() -> None:
    """End now: an ordinary exit waits for threads, and a view that missed the drain's deadline may never end."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
