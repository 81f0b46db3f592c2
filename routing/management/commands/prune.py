from argparse import ArgumentParser
from collections import Counter
from typing import Any

from endpoints.telling import TellingCommand, counted
from routing import partitions, retention

_NAMES = {"days": "days of attempts", "ids": "ids of producers"}


class Command(TellingCommand):
    help = "Forget what is older than is kept: see EVENT_SERVICE_KEEP_DAYS. Workers do it by themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be forgotten, and forget nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run = options["dry_run"]
        if not dry_run:
            partitions.make_ahead()
        found = Counter(dict.fromkeys(("days", "attempts", "events", "deliveries", "payloads", "ids"), 0))
        for forgot in counted(retention.prune(dry_run=dry_run), what="transactions"):
            found[forgot.what] += forgot.rows
        listed = ", ".join(f"{rows} {_NAMES.get(what, what)}" for what, rows in found.items())
        self.tell(f"{listed} {'would be' if dry_run else 'are'} forgotten.", dryRun=dry_run, **found)
