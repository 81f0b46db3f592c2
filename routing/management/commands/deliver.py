import signal
import sys
from argparse import ArgumentParser
from typing import Any, cast

from django.core.checks import Tags
from django.core.management.base import BaseCommand
from django.db import connections

from endpoints.telling import GENERAL
from event_service.metrics import open_process_door
from routing import tracing
from routing.lifeline import watch
from routing.supervisor import Supervisor, count, workers
from routing.worker import Worker

_THREADS = 8  # more slow each other down: add processes
# A worker that is cut off within a transaction holds up the endpoints whose lanes it has locked. Its own are short.
_LET_GO = " -c idle_in_transaction_session_timeout=3s"


class Command(BaseCommand):
    suppressed_base_arguments = GENERAL
    help = "Delivery workers alone. SIGTERM and ^C finish what is being sent, settle it and end."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--processes", type=count, default=1, metavar="N")
        parser.add_argument("--threads", type=count, default=_THREADS, metavar="N", help="senders of each process")
        parser.add_argument("--number", type=int, default=0, help="which port of the process doors is the first one's")
        parser.add_argument("--lifeline", type=int, help="a pipe that ends with the parent")

    def handle(self, *args: Any, **options: Any) -> None:
        cast(Any, connections["default"]).settings_dict["OPTIONS"]["options"] += _LET_GO  # the last one counts
        if options["lifeline"] is None:  # its parent has asked already
            self.check(tags=[Tags.database], databases=["default"])
        sys.exit(_run_one(**options) if options["processes"] == 1 else _run_several(**options))


def _run_one(*, threads: int, number: int, lifeline: int | None, **_: Any) -> int:
    worker = Worker(threads=threads)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.signal(signal.SIGINT, lambda *_: worker.stop())
    if lifeline is not None:
        watch(lifeline)
    open_process_door(number, worker.lives)
    tracing.start()
    worker.run()
    tracing.stop()
    return 0


def _run_several(*, processes: int, threads: int, number: int, **_: Any) -> int:
    cast(Any, connections["default"]).close_pool()  # the processes that are started have their own
    commands = workers(processes, "--threads", str(threads), first_number=number)
    return 0 if Supervisor(workers=commands).run() else 1
