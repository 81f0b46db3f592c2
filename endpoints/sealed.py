"""All that is sealed in the database: whether the installation's keys open it, and sealing it anew."""

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db import OperationalError, ProgrammingError

from endpoints.models import Endpoint, SigningKey
from endpoints.vault import Unreadable, seal_again, unseal

MAKE_A_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


def reseal() -> tuple[int, set[UUID]]:
    """Seal all with the newest key. Return how many secrets were not, and the endpoints with one that nothing opens.

    What is changed meanwhile is left as it is: it has been sealed by the keys of who changed it.
    """
    count, unreadable = 0, set()
    for key in SigningKey.objects.order_by("pk").iterator():
        try:
            again = seal_again(bytes(key.sealed))
        except Unreadable:
            unreadable.add(key.endpoint_id)
            continue
        if again != bytes(key.sealed):
            count += SigningKey.objects.filter(pk=key.pk, sealed=key.sealed).update(sealed=again)
    for endpoint in Endpoint.objects.exclude(headers={}).order_by("pk").iterator():
        try:
            headers = {name: seal_again(value.encode()).decode() for name, value in endpoint.headers.items()}
        except Unreadable:
            unreadable.add(endpoint.pk)
            continue
        changed = sum(headers[name] != value for name, value in endpoint.headers.items())
        if changed and Endpoint.objects.filter(pk=endpoint.pk, headers=endpoint.headers).update(headers=headers):
            count += changed
    return count, unreadable


def check_keys(**_: Any) -> list[CheckMessage]:
    """Say which of SEALING_KEYS is none, by its place: a key is not repeated."""
    return [
        Error(
            f"Key {place} of EVENT_SERVICE_SEALING_KEYS is not the base64 of 32 bytes.",
            hint=f"Make one with: {MAKE_A_KEY}",
            id="endpoints.E001",
        )
        for place, key in enumerate(settings.SEALING_KEYS, start=1)
        if not _is_key(key)
    ]


def check_secrets(*, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say whether SEALING_KEYS open what is stored: an error where they open nothing, a warning where not all."""
    if not databases or check_keys():
        return []
    try:
        opened = [(endpoint_id, _opens(sealed)) for endpoint_id, sealed in _sealed()]
    except (OperationalError, ProgrammingError):  # no database to ask yet, or no tables in it
        return []
    closed = {str(endpoint_id) for endpoint_id, opens in opened if not opens}
    if not closed:
        return []
    kind, number = (Warning, "W001") if any(opens for _, opens in opened) else (Error, "E002")
    return [
        kind(
            f"EVENT_SERVICE_SEALING_KEYS does not open the secrets of {len(closed)} endpoints, "
            f"such as {', '.join(sorted(closed)[:5])}.",
            hint="Put back the key that they were sealed with (at first that of DATA_DIR/sealing_key), behind the "
            "newest; or rotate the secrets of these endpoints and give their headers again.",
            id=f"endpoints.{number}",
        )
    ]


def _sealed() -> Iterator[tuple[UUID, bytes]]:
    for key in SigningKey.objects.order_by("pk").iterator():
        yield key.endpoint_id, bytes(key.sealed)
    for endpoint in Endpoint.objects.exclude(headers={}).order_by("pk").iterator():
        yield from ((endpoint.pk, value.encode()) for value in endpoint.headers.values())


def _opens(sealed: bytes) -> bool:
    try:
        unseal(sealed)
    except Unreadable:
        return False
    return True


def _is_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True
