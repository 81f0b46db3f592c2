"""The fields that each kind of object has in a file, and what each may be: the same checks as at every other door."""

from base64 import b64encode
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from endpoints.as_code.documents import ENDPOINTS, FILTERS, TYPES, Secret
from endpoints.checks import checked_headers, checked_method, checked_name, checked_secret, checked_url
from endpoints.errors import BadInput
from endpoints.json_schema import Schema
from endpoints.models import Endpoint, EventType
from endpoints.models.event_types import DESCRIPTION_LENGTH, TYPE_LENGTH
from endpoints.patterns import check_definition
from endpoints.policy import as_columns, checked_payload_shape

Check = Callable[[Any], Any]
STATES = ("ACTIVE", "PAUSED")


def _is(kind: type, what: str, field: str, check: Check = lambda value: value) -> Check:
    def checked(value: Any) -> Any:
        if not isinstance(value, kind) or kind is int and isinstance(value, bool):
            raise BadInput(f"{field} is {value!r:.60}; it is {what}.", field)
        return check(value)

    return checked


def _one_of(choices: Collection[str], field: str) -> Check:
    def checked(value: Any) -> Any:
        if value not in choices:
            raise BadInput(f"{field} is {value!r:.60}; use one of {', '.join(choices)}.", field)
        return value

    return checked


def _headers(headers: dict[str, Any]) -> dict[str, Secret]:
    shown = {name: value.reveal() or "x" if isinstance(value, Secret) else value for name, value in headers.items()}
    checked_headers(shown)
    return {
        name: value if isinstance(value, Secret) else Secret(partial(str, value))
        for name, value in sorted(headers.items())
    }


def _secret(secret: Secret) -> Secret:
    text = secret.reveal()
    if text is None:
        return secret
    canonical = f"whsec_{b64encode(checked_secret(text)).decode()}"  # base64 may be written in more than one way
    return Secret(partial(str, canonical))


def _retry_policy(policy: dict[str, Any]) -> Any:
    return as_columns({"retry_policy": policy})["retry_policy"]


def _max_in_flight(count: int) -> Any:
    return as_columns({"max_in_flight": count})["max_in_flight"]


def _rate_limit(rate: dict[str, Any]) -> dict[str, int]:
    if rate.keys() != {"count", "periodSeconds"} or not all(type(value) is int for value in rate.values()):
        raise BadInput(f"rateLimit is {rate}; write count and periodSeconds, both whole numbers.", "rateLimit")
    as_columns({"rate_limit": {"count": rate["count"], "period_seconds": rate["periodSeconds"]}})
    return rate


def _names(names: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in names):
        raise BadInput("filters is a list of names.", "filters")
    return sorted(set(names))


def _definition(definition: dict[str, Any]) -> dict[str, Any]:
    check_definition(definition)
    return definition


def _schema(schema: Any) -> Any:
    Schema(schema)
    return schema


_text = partial(_is, str, "a text")
_mapping = partial(_is, dict, "a mapping")
_yes_or_no = partial(_is, bool, "true or false")


_NAMES: dict[str, Check] = {
    "name": _text("name", checked_name),
    "renamedFrom": _text("renamedFrom", partial(checked_name, field="renamedFrom")),
}
CHECKS: dict[str, dict[str, Check]] = {
    TYPES: {
        "name": _text("name", partial(checked_name, length=TYPE_LENGTH)),
        "description": _text("description", partial(checked_name, field="description", length=DESCRIPTION_LENGTH)),
        "schema": _mapping("schema", _schema),
        "enforcement": _one_of(EventType.Enforcement.values, "enforcement"),
    },
    FILTERS: {**_NAMES, "definition": _mapping("definition", _definition)},
    ENDPOINTS: {
        **_NAMES,
        "type": _one_of(Endpoint.Type.values, "type"),
        "url": _text("url", checked_url),
        "method": _text("method", checked_method),
        "headers": _mapping("headers", _headers),
        "secret": _secret,
        "asymmetricSignatures": _yes_or_no("asymmetricSignatures"),
        "retryPolicy": _mapping("retryPolicy", _retry_policy),
        "maxInFlight": _is(int, "a whole number", "maxInFlight", _max_in_flight),
        "rateLimit": _mapping("rateLimit", _rate_limit),
        "ordering": _one_of(Endpoint.Ordering.values, "ordering"),
        "payloadFormat": _one_of(Endpoint.PayloadFormat.values, "payloadFormat"),
        "payloadShape": _mapping("payloadShape", checked_payload_shape),
        "openAccess": _yes_or_no("openAccess"),
        "state": _one_of(STATES, "state"),
        "filters": _is(list, "a list of names", "filters", _names),
    },
}
REQUIRED = {TYPES: {"name"}, FILTERS: {"name", "definition"}, ENDPOINTS: {"name", "type"}}
