"""Endpoints of Svix, as its API lists them (GET /api/v1/app/{app}/endpoint), made webhooks of ours."""

from collections.abc import Callable, Mapping
from hmac import compare_digest
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

import msgspec
from django.db import transaction

from endpoints.checks import NAME_LENGTH, checked_secret
from endpoints.errors import BadInput
from endpoints.models import Endpoint, EventFilter, FilterLink, SigningKey
from endpoints.vault import Unreadable, unseal

T = TypeVar("T")

MADE, CHANGED, SAME, DELETED = "made", "changed", "as it was", "was deleted here"
_REASON = "Disabled in Svix."


class Listed(msgspec.Struct, rename="camel"):
    """One of Svix's endpoints. What we have nothing for is said, see `left`."""

    url: str
    id: str = ""
    uid: str | None = None
    description: str = ""
    filter_types: list[str] | None = None
    channels: list[str] | None = None
    rate_limit: int | None = None
    disabled: bool = False
    headers: dict[str, str] | None = None  # which lists leave out
    metadata: dict[str, str] = {}
    secret: str | None = None

    @property
    def known_as(self) -> str:
        return self.uid or self.id or self.url

    @property
    def left(self) -> list[str]:
        """Name what it has and an endpoint of ours has not."""
        return [name for name in ("channels", "metadata") if getattr(self, name)]

    def settings(self) -> dict[str, Any]:
        limit = {"count": self.rate_limit, "period_seconds": 1} if self.rate_limit else None
        name = (self.description or self.known_as)[:NAME_LENGTH]
        headers = {} if self.headers is None else {"headers": self.headers}
        return {"name": name, "url": self.url, "rate_limit": limit, **headers}


class _Page(msgspec.Struct):
    data: list[Listed]


class BroughtIn(NamedTuple):
    listed: Listed
    id: UUID
    outcome: str


def read(text: bytes) -> list[Listed]:
    """Return the endpoints of an answer of Svix's API, or of a list of them. Raises BadInput."""
    try:
        found = msgspec.json.decode(text, type=_Page | list[Listed])
    except msgspec.DecodeError as error:
        raise BadInput(f"This is no list of Svix's endpoints: {error}.") from None
    return found.data if isinstance(found, _Page) else found


@transaction.atomic
def bring_in(listed: Listed, workspace_id: UUID) -> BroughtIn:
    """Make or change the endpoint that stands for `listed`. Raises ServiceError, and changes nothing."""
    id_ = uuid5(workspace_id, f"svix {listed.known_as}")
    endpoint = Endpoint.objects.select_for_update(no_key=True).filter(pk=id_).first()
    if endpoint is None:
        endpoint = Endpoint.create_webhook(workspace_id=workspace_id, id=id_, **listed.settings())
        outcome = MADE
    elif endpoint.deleted_at:
        return BroughtIn(listed, id_, DELETED)
    else:
        outcome = _change(endpoint, listed.settings())
    others = [
        _sign(endpoint, listed.secret),
        _filter(endpoint, listed.filter_types),
        _disable(endpoint, listed.disabled),
    ]
    return BroughtIn(listed, id_, CHANGED if outcome == SAME and any(others) else outcome)


def _change(endpoint: Endpoint, settings: Mapping[str, Any]) -> str:
    limit = {"count": endpoint.rate_limit, "period_seconds": endpoint.rate_period_s} if endpoint.rate_limit else None
    headers = _opened(lambda: {name: unseal(value.encode()).decode() for name, value in endpoint.headers.items()})
    has = {"name": endpoint.name, "url": endpoint.url, "headers": headers, "rate_limit": limit}
    differs = {name: value for name, value in settings.items() if value != has[name]}
    if differs:
        endpoint.change(**differs)
    return CHANGED if differs else SAME


def _sign(endpoint: Endpoint, secret: str | None) -> bool:
    """Have it sign with Svix's secret, so that receivers need not change."""
    before = _opened(lambda: endpoint.secret)
    if secret is None or (before is not None and compare_digest(checked_secret(secret), checked_secret(before))):
        return False
    SigningKey.rotate(endpoint, secret=secret, overlap_s=0)
    return True


def _opened(reveal: Callable[[], T]) -> T | None:
    """Return what is revealed, or None for what no key opens: what is listed takes its place."""
    try:
        return reveal()
    except Unreadable:
        return None


def _filter(endpoint: Endpoint, types: list[str] | None) -> bool:
    id_ = uuid5(endpoint.pk, "filter")
    definition = {"pattern": {"type": types}}
    event_filter = EventFilter.objects.filter(pk=id_).first()
    if event_filter is None and types:
        made = EventFilter.create(workspace_id=endpoint.workspace_id, id=id_, name=endpoint.name, definition=definition)
        FilterLink.link([endpoint], made)
    elif event_filter and not types:
        EventFilter.remove([event_filter])
    elif event_filter and event_filter.definition != definition:
        event_filter.change(definition=definition)
    else:
        return False
    return True


def _disable(endpoint: Endpoint, disabled: bool) -> bool:
    """Disable what is so in Svix. What is not may be disabled here, for a reason of our own, and stays so."""
    if not disabled or endpoint.state == Endpoint.State.DISABLED:
        return False
    Endpoint.change_state([endpoint], Endpoint.State.DISABLED, _REASON)
    return True
