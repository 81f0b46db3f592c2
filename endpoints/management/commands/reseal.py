from typing import Any

from django.core.management.base import CommandError

from endpoints.audit import AuditedCommand
from endpoints.sealed import reseal


class Command(AuditedCommand):
    help = "Encrypt all stored secrets with the newest of EVENT_SERVICE_SEALING_KEYS, so that the older keys can go."

    def handle(self, *args: Any, **options: Any) -> None:
        count, unreadable = reseal()
        text = f"{count} secrets were encrypted with the newest key; now all are that can be opened."
        self.tell(text, resealed=count, unreadable=sorted(map(str, unreadable)))
        if unreadable:
            ids = ", ".join(sorted(map(str, unreadable)))
            raise CommandError(
                f"No key opens the secrets of {len(unreadable)} endpoints: {ids}. Put back the key that they were "
                "encrypted with and repeat, or rotate their secrets and give their headers again."
            )
