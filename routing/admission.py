"""Who may read an endpoint's events over a websocket, and from where."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings

from endpoints.auth import Grant, authenticate, presented_key
from endpoints.errors import ServiceError
from endpoints.models import ApiKey, Endpoint, Scope
from routing.models import Cursor, Delivery

NOT_ALLOWED, FAILED, TRY_AGAIN, NO_SUCH_ENDPOINT, ENDPOINT_GONE = 1008, 1011, 1013, 4404, 4410  # close codes
KEY_PROTOCOL = "event-service.key."  # with the key after it: the one place where a browser can put it


class Refusal(Exception):
    """Why a websocket is closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


FAILURE = Refusal(FAILED, "The service failed, and its log says why; connect again.")


@dataclass(frozen=True, slots=True)
class Standing:
    """A websocket endpoint as it is now."""

    endpoint: Endpoint
    last_seq: int  # of its deliveries; 0 before the first

    @property
    def active(self) -> bool:
        return self.endpoint.state == Endpoint.State.ACTIVE

    def problem(self, *, keyed: bool) -> Refusal | None:
        """Return why its events can't be had, by somebody who has a key or by anybody."""
        if not keyed and not (self.endpoint.open_access or settings.OPEN_WEBSOCKETS):
            return _no_key()
        if self.endpoint.deleted_at:
            return endpoint_gone(self.endpoint.pk)
        if self.endpoint.state == Endpoint.State.DISABLED:
            return Refusal(NOT_ALLOWED, f"The endpoint is DISABLED: {self.endpoint.state_reason}")
        return None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a reader asked for and may have."""

    standing: Standing
    key_id: UUID | None  # None: the endpoint is open to anybody
    position: int  # the cursor of the last event that it does not want any more
    replay: bool  # it named the position itself, and so gets what was skipped or cancelled as well


def admit(scope: Mapping[str, Any]) -> Admission:
    """Return what the reader may have. Raises Refusal."""
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    grant = _grant(scope)
    standing = _standing(query.get("endpoint_id", [""])[0], grant)
    if problem := standing.problem(keyed=grant is not None):
        raise problem
    after = query.get("after")
    return Admission(
        standing,
        key_id=grant.key_id if grant else None,
        position=_position(standing) if after is None else _given_position(after[0], standing),
        replay=after is not None,
    )


def standings(endpoint_ids: Set[UUID]) -> dict[UUID, Standing]:
    """Return those that are websocket endpoints."""
    last_seqs = dict(Cursor.objects.filter(pk__in=endpoint_ids).values_list("pk", "last_seq"))
    endpoints = Endpoint.objects.filter(pk__in=endpoint_ids, type=Endpoint.Type.WEB_SOCKET)
    return {endpoint.pk: Standing(endpoint, last_seqs.get(endpoint.pk, 0)) for endpoint in endpoints}


def keys_that_may_read(key_ids: Set[UUID]) -> set[UUID]:
    keys = ApiKey.objects.usable().filter(pk__in=key_ids, scopes__contains=[Scope.SUBSCRIBE])
    return set(keys.values_list("pk", flat=True))


def endpoint_gone(endpoint_id: UUID) -> Refusal:
    return Refusal(ENDPOINT_GONE, f"The endpoint {endpoint_id} was deleted.")


def _grant(scope: Mapping[str, Any]) -> Grant | None:
    """Return what the reader's key allows, or None where there is no key. Raises Refusal for one that won't do."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    authorization, token = headers.get(b"authorization"), headers.get(b"token")
    offered = [name for name in scope["subprotocols"] if name.startswith(KEY_PROTOCOL)]
    try:
        if authorization or token:
            grant = authenticate(presented_key(authorization, token))
        elif offered:
            grant = authenticate(offered[0].removeprefix(KEY_PROTOCOL))
        else:
            return None
        grant.require(Scope.SUBSCRIBE)
    except ServiceError as error:
        raise Refusal(NOT_ALLOWED, error.message) from None
    return grant


def _standing(given: str, grant: Grant | None) -> Standing:
    """Return the endpoint that `given` names. Who has no key does not learn which endpoints there are."""
    endpoint_id = _uuid(given)
    standing = standings({endpoint_id}).get(endpoint_id) if endpoint_id else None
    if standing and (not grant or grant.workspace_id == standing.endpoint.workspace_id):
        return standing
    if not grant and not settings.OPEN_WEBSOCKETS:
        raise _no_key()
    raise Refusal(NO_SUCH_ENDPOINT, f"endpoint_id {given!r:.60} names no websocket endpoint.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _no_key() -> Refusal:
    return Refusal(
        NOT_ALLOWED, f"No key: send 'Authorization: Bearer KEY', 'Token: KEY' or protocol {KEY_PROTOCOL}KEY."
    )


def _position(standing: Standing) -> int:
    """Return where the endpoint's delivery stands. What came in since `standing` was read has a higher number."""
    unread = Delivery.objects.filter(endpoint=standing.endpoint, state=Delivery.State.PENDING, due_at=None)
    lowest = unread.order_by("seq").values_list("seq", flat=True).first()
    return standing.last_seq if lowest is None else lowest - 1


def _given_position(after: str, standing: Standing) -> int:
    if not after.isascii() or not after.isdecimal() or len(after) > 19:
        raise Refusal(NOT_ALLOWED, f"after is {after!r:.40}; give the cursor of an event, or 0.")
    if int(after) > standing.last_seq:
        raise Refusal(NOT_ALLOWED, f"after is {after}, but the endpoint's last cursor is {standing.last_seq}.")
    return int(after)
