import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from event_service.metrics import open_process_door
from routing import lifeline, tracing
from routing.worker import Worker

_THREADS = 8  # more slow each other down: add processes


class Command(BaseCommand):
    help = "Delivery workers alone. SIGTERM and ^C finish what is being sent, settle it and end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--processes", type=int, default=1, metavar="N")
        parser.add_argument("--threads", type=int, default=_THREADS, metavar="N", help="senders of each process")
        parser.add_argument("--number", type=int, default=0, help="which port of the process doors is this one's")
        parser.add_argument("--lifeline", type=int, help="a pipe that ends with the parent")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["lifeline"] is None:  # its parent has asked already
            self.check(tags=[Tags.database], databases=["default"])
        worker = Worker(threads=options["threads"])
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        signal.signal(signal.SIGINT, lambda *_: worker.stop())
        if options["lifeline"] is not None:
            lifeline.watch(options["lifeline"])
        open_process_door(options["number"], worker.lives)
        tracing.start()
        worker.run()
        tracing.stop()
        sys.exit(0)
