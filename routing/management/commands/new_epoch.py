from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import transaction

from endpoints.audit import AuditedCommand, note
from routing.models import Cursor


class Command(AuditedCommand):
    help = (
        "After the database was set back to an earlier state in place: have all websocket cursors answered by a reset."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            count = Cursor.objects.update(epoch=RandomUUID())
            note("Cursor", ["*"], None, endpoints=count)
        self.tell(f"The deliveries of {count} endpoints are numbered in a new epoch.", endpoints=count)
