from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from endpoints.audit import AuditedCommand
from endpoints.errors import NotFound
from endpoints.management.commands.create_key import tell_key
from endpoints.models import ApiKey
from endpoints.models.workspaces import OVERLAP_S


class Command(AuditedCommand):
    help = "Make a key in place of another one, which goes on for a while. It is shown here and never again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="its id, or the characters that it is known by: es_live_ and six more")
        parser.add_argument("--overlap-seconds", type=int, default=OVERLAP_S, help="of the old one; 0 revokes it")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        key, text = _key(options["key"]).rotate(overlap_s=options["overlap_seconds"])
        tell_key(self, key, text)


def _key(id_or_prefix: str) -> ApiKey:
    wanted = Q(prefix=id_or_prefix)
    with suppress(ValueError):  # a prefix it is
        wanted |= Q(pk=UUID(id_or_prefix))
    try:
        return ApiKey.objects.select_for_update(no_key=True).get(wanted)
    except ApiKey.DoesNotExist as error:
        raise NotFound(f"There is no key with the id or prefix {id_or_prefix[:36]!r}.", "key") from error
