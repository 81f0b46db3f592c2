"""What is stored, as documents: by kind and name, with what is as it is by default left out."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Q

from endpoints.errors import Conflict
from endpoints.models import Endpoint, EventFilter, EventType
from endpoints.telling import progress
from endpoints.vault import Unreadable, unseal

Document = dict[str, Any]
Documents = dict[str, dict[str, Document]]
TYPES, FILTERS, ENDPOINTS = KINDS = ("eventTypes", "filters", "endpoints")
NOUNS = {TYPES: "event type", FILTERS: "filter", ENDPOINTS: "endpoint"}
DEFAULTS: Document = {
    **{"method": "POST", "ordering": "UNORDERED", "payloadFormat": "STANDARD", "enforcement": "OFF"},
    **{"headers": {}, "retryPolicy": {}, "filters": [], "description": ""},
    **{"openAccess": False, "asymmetricSignatures": False},
}
NOTHING = object()


@dataclass(frozen=True, eq=False)
class Secret:
    """A value that is compared and never shown. One that can't be had here, None, compares as what is stored."""

    reveal: Callable[[], str | None]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        try:
            mine, theirs = self.reveal(), other.reveal()
        except Unreadable:  # no key opens what is stored: giving it anew is the way out
            return False
        return mine is None or theirs is None or mine == theirs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "(secret)"


def without_defaults(document: Document) -> Document:
    return {
        field: value for field, value in document.items() if value is not None and value != DEFAULTS.get(field, NOTHING)
    }


def stored(workspace_id: UUID, names: Iterable[str] | None = None) -> Documents:
    """Return the documents of a workspace. Raises Conflict where a name, of `names` where given, is there twice."""
    wanted = None if names is None else set(names)
    documents: Documents = {
        TYPES: {event_type.name: _of_type(event_type) for event_type in described(workspace_id)},
        FILTERS: {event_filter.name: {"definition": event_filter.definition} for event_filter in filters(workspace_id)},
        ENDPOINTS: {endpoint.name: _of_endpoint(endpoint) for endpoint in _drawn(endpoints(workspace_id))},
    }
    for rows, noun in ((filters(workspace_id), "filters"), (endpoints(workspace_id), "endpoints")):
        counts = Counter(rows.values_list("name", flat=True))
        twice = [name for name, count in counts.items() if count > 1 and (wanted is None or name in wanted)]
        if twice:
            raise Conflict(f"The workspace has several {noun} with the name {twice[0]!r}; rename all but one.", "name")
    return documents


def _drawn(rows: Any) -> Iterable[Endpoint]:
    return progress(rows, total=rows.count(), what="endpoints")


def described(workspace_id: UUID) -> Any:
    """Return the types of which somebody said something: that others have arrived is no configuration."""
    said = Q(schema__isnull=False) | ~Q(description="")
    return EventType.objects.filter(said, workspace_id=workspace_id).order_by("name")


def filters(workspace_id: UUID) -> Any:
    return EventFilter.objects.filter(workspace_id=workspace_id).order_by("name", "pk")


def endpoints(workspace_id: UUID) -> Any:
    rows = Endpoint.objects.live().filter(workspace_id=workspace_id)
    return rows.prefetch_related("event_filters", "signing_keys").order_by("name", "pk")


def _of_type(event_type: EventType) -> Document:
    return without_defaults(
        {
            "description": event_type.description,
            "schema": event_type.schema,
            "enforcement": event_type.enforcement,
        }
    )


def _of_endpoint(endpoint: Endpoint) -> Document:
    current = {key.scheme: key for key in endpoint.signing_keys.all() if key.expires_at is None}
    document = {
        "type": endpoint.type,
        "url": endpoint.url or None,
        "method": endpoint.method or None,
        "headers": {name: Secret(partial(_unsealed, sealed)) for name, sealed in sorted(endpoint.headers.items())},
        "secret": Secret(partial(getattr, current["v1"], "secret")) if "v1" in current else None,
        "asymmetricSignatures": "v1a" in current,
        "retryPolicy": endpoint.retry_policy,
        "maxInFlight": endpoint.max_in_flight,
        "rateLimit": _rate(endpoint),
        "ordering": endpoint.ordering,
        "payloadFormat": endpoint.payload_format,
        "payloadShape": endpoint.payload_shape,
        "openAccess": endpoint.open_access,
        "state": endpoint.state,
        "filters": sorted(event_filter.name for event_filter in endpoint.event_filters.all()),
    }
    return without_defaults(document)


def _rate(endpoint: Endpoint) -> dict[str, int] | None:
    if endpoint.rate_limit is None:
        return None
    return {"count": endpoint.rate_limit, "periodSeconds": endpoint.rate_period_s}


def _unsealed(sealed: str) -> str:
    return unseal(sealed.encode()).decode()
