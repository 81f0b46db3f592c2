from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from endpoints.audit import AuditedCommand, note
from endpoints.errors import BadInput
from endpoints.models import AuditEntry
from endpoints.models.audit import KEPT_DAYS


class Command(AuditedCommand):
    help = "Forget what the audit log says of long ago. Nothing else can be taken out of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, required=True, help=f"how many are kept: {KEPT_DAYS} or more")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = AuditEntry.forget(older_than_days=options["days"])
        except BadInput as error:
            raise CommandError(error.message) from error
        note("AuditEntry", ["*"], None, forgotten=count)
        self.stdout.write(f"{count} entries are forgotten.")
