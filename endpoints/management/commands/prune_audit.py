from argparse import ArgumentParser
from typing import Any

from endpoints.audit import AuditedCommand, note
from endpoints.models import AuditEntry
from endpoints.models.audit import KEPT_DAYS


class Command(AuditedCommand):
    help = "Forget what the audit log says of long ago. Nothing else can be taken out of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, required=True, help=f"how many are kept: {KEPT_DAYS} or more")

    def handle(self, *args: Any, **options: Any) -> None:
        count = AuditEntry.forget(older_than_days=options["days"])
        note("AuditEntry", ["*"], None, forgotten=count)
        self.tell(f"{count} entries are forgotten.", forgotten=count)
