from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.core.management.base import BaseCommand

from routing.models import Cursor


class Command(BaseCommand):
    help = (
        "After the database was set back to an earlier state in place: have all websocket cursors answered by a reset."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = Cursor.objects.update(epoch=RandomUUID())
        self.stdout.write(f"The deliveries of {count} endpoints are numbered in a new epoch.")
