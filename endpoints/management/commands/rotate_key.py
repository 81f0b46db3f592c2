import json
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.db import transaction
from django.db.models import Q

from endpoints.audit import AuditedCommand
from endpoints.errors import ServiceError
from endpoints.models import ApiKey
from endpoints.models.workspaces import OVERLAP_S


class Command(AuditedCommand):
    help = "Make a key in place of another one, which goes on for a while. It is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="its id, or the characters that it is known by: es_live_ and six more")
        parser.add_argument("--overlap-seconds", type=int, default=OVERLAP_S, help="of the old one; 0 revokes it")
        parser.add_argument("--json", action="store_true", help='one line {"workspaceId": ..., "apiKey": ...}')

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        old = _key(options["key"])
        try:
            _, text = old.rotate(overlap_s=options["overlap_seconds"])
        except ServiceError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps({"workspaceId": str(old.workspace_id), "apiKey": text}))
        else:
            self.stdout.write(f"Key, shown only now: {text}")


def _key(id_or_prefix: str) -> ApiKey:
    wanted = Q(prefix=id_or_prefix)
    with suppress(ValueError):  # a prefix it is
        wanted |= Q(pk=UUID(id_or_prefix))
    try:
        return ApiKey.objects.select_for_update(no_key=True).get(wanted)
    except ApiKey.DoesNotExist as error:
        raise CommandError(f"There is no key with the id or prefix {id_or_prefix[:36]!r}.") from error
