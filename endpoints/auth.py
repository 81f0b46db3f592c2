"""From the key of a request to its workspace and scopes: the one door for HTTP, GraphQL and websockets."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from endpoints.errors import Forbidden, Unauthenticated
from endpoints.keys import is_key
from endpoints.models import ApiKey, key_digest
from endpoints.models.quotas import Quota, limit_of

_UNUSABLE = "This key is unknown, revoked or expired."
_USED_EVERY = timedelta(minutes=1)  # how exact last_used_at is; every request would write otherwise


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid key allows."""

    key_id: UUID
    workspace_id: UUID
    scopes: frozenset[str]
    name: str = field(default="", compare=False)
    events_per_day: int | None = None  # that the workspace may publish

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the key has `scope`."""
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise Forbidden(f"This key's scopes are {has}; the operation needs {str(scope)!r}.")

    def renewed(self, scopes: Iterable[str] | None) -> "Grant":
        """Return the grant with the scopes that its key has now; None: the key can't be used any more."""
        if scopes is None:
            raise Unauthenticated(_UNUSABLE)
        return replace(self, scopes=frozenset(scopes))


def presented_key(authorization: str | None, token: str | None) -> str:
    """Return the key of `Authorization: Bearer KEY` or `Token: KEY`.

    Raises Unauthenticated where there is none.
    """
    if authorization:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("Authorization is not 'Bearer KEY', or its key is empty.")  # it may be the key itself
        return key.strip()
    if token and token.strip():
        return token.strip()
    raise Unauthenticated("No key: send 'Authorization: Bearer KEY' or 'Token: KEY'.")


def authenticate(key: str) -> Grant:
    """Return what `key` allows. Raises Unauthenticated for a key that is unknown, revoked or expired.

    What is no key of ours by its form and checksum, which are public, costs the database nothing. A real one is found
    by its digest: how far two digests agree tells nothing about the keys, so the look-up need not take constant time.
    """
    if not is_key(key):
        raise Unauthenticated(_UNUSABLE)
    digest = key_digest(key)
    found = ApiKey.objects.usable().select_related("workspace").filter(digest=digest).first()
    if found is None or not hmac.compare_digest(bytes(found.digest), digest):
        raise Unauthenticated(_UNUSABLE)
    stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - _USED_EVERY)
    ApiKey.objects.filter(stale, pk=found.pk).update(last_used_at=Now())
    return Grant(
        key_id=found.pk,
        workspace_id=found.workspace_id,
        scopes=frozenset(found.scopes),
        name=found.name,
        events_per_day=limit_of(found.workspace, Quota.EVENTS),
    )
