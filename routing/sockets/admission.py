"""Who may read an endpoint's events over a websocket, and from where."""

from collections.abc import Mapping, Set
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from endpoints.auth import Grant, authenticate, presented_key
from endpoints.errors import Limited, ServiceError, Unavailable
from endpoints.models import ApiKey, Endpoint, Scope
from endpoints.rates import HANDSHAKE, rates
from endpoints.tenancy import within
from routing.sockets import tickets
from routing.sockets.asked import Asked
from routing.sockets.cursors import Cursor
from routing.sockets.origins import check_origin
from routing.sockets.reading import last_before, position_at, unread_position
from routing.sockets.refusals import NO_SUCH_ENDPOINT, NOT_ALLOWED, TRY_AGAIN, Refusal, endpoint_gone
from routing.sockets.tickets import Opener

KEY_PROTOCOL = "event-service.key."  # with the key after it: where a browser can put it


@dataclass(frozen=True, slots=True)
class Standing:
    """An endpoint as it is now."""

    endpoint: Endpoint
    last_seq: int  # of its deliveries; 0 before the first
    epoch: str
    now: datetime  # the database's clock

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
class Reset:
    """Where the reader goes on is not where it wanted to."""

    reason: str  # EPOCH_CHANGED, AHEAD or HISTORY_GONE
    after: Cursor | None
    until: Cursor | None = None  # what comes behind `after` up to it is missing; None where nobody can say


@dataclass(frozen=True, slots=True)
class Admission:
    """What a reader asked for and may have."""

    standing: Standing
    asked: Asked
    key_id: UUID | None  # None: the endpoint is open to anybody
    position: int  # the number of the last event that it does not want any more
    reset: Reset | None = None
    user_id: int | None = None  # the operator that looks on, instead of a key
    began_at: int = 0  # the number before the time that it asked for: up to there it had nothing

    @property
    def replays(self) -> bool:
        """Whether it named the position itself, and so gets what was skipped or cancelled as well."""
        return self.asked.names_position and not self.reset

    @property
    def adopts(self) -> bool:
        """Whether it says by its position that it has all up to there, from where it began."""
        return self.asked.acknowledges and self.asked.resumes and self.position > self.began_at and not self.reset


def admit(scope: Mapping[str, Any]) -> Admission:
    """Return what the reader may have. Raises Refusal."""
    check_origin(scope)
    asked = Asked.parse(scope)
    opener = _charged(scope, asked)
    if opener.user_id and not asked.watches:
        raise Refusal(NOT_ALLOWED, "An operator's ticket is for looking on: it goes with watch=1.")
    return _admission(asked, opener)


def _charged(scope: Mapping[str, Any], asked: Asked) -> Opener:
    """Return what opens it, and charge for that. Raises Refusal."""
    address = address_of(scope)
    try:
        rates.charge(rates.of_address(address), HANDSHAKE)
        opener = _opened_by(scope, asked)
        if opener.key_id and opener.workspace_id:
            rates.charge(rates.of_key(opener.key_id, opener.workspace_id), HANDSHAKE)
    except (Limited, Unavailable) as error:
        raise Refusal(TRY_AGAIN, error.message) from None
    except Refusal:
        rates.charge_wrong_key(address)
        raise
    return opener


def admit_key(asked: Asked, grant: Grant) -> Admission:
    """Return what a reader that has this key may have. Raises Refusal."""
    return _admission(asked, Opener(grant.workspace_id, key_id=grant.key_id))


def _admission(asked: Asked, opener: Opener) -> Admission:
    # Who comes with nothing has no workspace: for an endpoint that is open, its id is the secret.
    with within(opener.workspace_id) if opener.workspace_id else nullcontext():
        return _admitted(asked, opener)


def _admitted(asked: Asked, opener: Opener) -> Admission:
    standing = _standing(asked.endpoint_id, opener)
    if problem := standing.problem(keyed=bool(opener.key_id or opener.user_id)):
        raise problem
    began_at = position_at(standing.endpoint.pk, asked.since, standing.last_seq) if asked.since else 0
    position, reset = _position(asked, standing, began_at)
    return Admission(standing, asked, opener.key_id, position, reset, opener.user_id, began_at)


def standings(endpoint_ids: Set[UUID]) -> dict[UUID, Standing]:
    with connection.cursor() as cursor:
        cursor.execute(_CURSORS, [list(endpoint_ids)])
        found = {id_: columns for id_, *columns in cursor.fetchall()}
    endpoints = Endpoint.objects.filter(pk__in=found)
    return {endpoint.pk: Standing(endpoint, *found[endpoint.pk]) for endpoint in endpoints}


def keys_that_may_read(key_ids: Set[UUID]) -> set[UUID]:
    keys = ApiKey.objects.usable().filter(pk__in=key_ids, scopes__contains=[Scope.SUBSCRIBE])
    return set(keys.values_list("pk", flat=True))


def key_lost() -> Refusal:
    return Refusal(NOT_ALLOWED, "The key was revoked, has expired or lost the scope 'subscribe'.")


def _opened_by(scope: Mapping[str, Any], asked: Asked) -> Opener:
    """Return what opens it, if anything does. Raises Refusal for a key or a ticket that won't do."""
    try:
        grant = _grant(scope)
    except ServiceError as error:
        raise Refusal(NOT_ALLOWED, error.message) from None
    if grant:
        return Opener(grant.workspace_id, key_id=grant.key_id)
    if asked.access:
        return tickets.take(asked.access, endpoint_id=asked.endpoint_id, address=address_of(scope))
    return Opener()


def _grant(scope: Mapping[str, Any]) -> Grant | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    authorization, token = headers.get(b"authorization"), headers.get(b"token")
    offered = [name for name in scope["subprotocols"] if name.startswith(KEY_PROTOCOL)]
    if authorization or token:
        grant = authenticate(presented_key(authorization, token))
    elif offered:
        grant = authenticate(offered[0].removeprefix(KEY_PROTOCOL))
    else:
        return None
    grant.require(Scope.SUBSCRIBE)
    return grant


def address_of(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _standing(given: str, opener: Opener) -> Standing:
    """Return the endpoint that `given` names: a websocket, or for operators, who only look on, a webhook as well.

    Who has no key does not learn which endpoints there are.
    """
    endpoint_id = _uuid(given)
    standing = standings({endpoint_id}).get(endpoint_id) if endpoint_id else None
    is_theirs = standing and opener.workspace_id in (None, standing.endpoint.workspace_id)
    if standing and is_theirs and (opener.user_id or standing.endpoint.type == Endpoint.Type.WEB_SOCKET):
        return standing
    if opener.workspace_id is None and not settings.OPEN_WEBSOCKETS:
        raise _no_key()
    if standing and opener.workspace_id and is_theirs:
        raise Refusal(NO_SUCH_ENDPOINT, f"endpoint_id {given!r:.60} is a webhook; give the id of a websocket endpoint.")
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


def _position(asked: Asked, standing: Standing, began_at: int) -> tuple[int, Reset | None]:
    if asked.names_position and asked.after is None:
        return began_at, None
    if asked.after and asked.after.epoch == standing.epoch and asked.after.seq <= standing.last_seq:
        if began_at <= asked.after.seq:
            return asked.after.seq, None
        # What is deleted between the two may be of before that time, or missing: that is told.
        return last_before(standing.endpoint.pk, asked.after.seq, began_at), None
    unread = standing.last_seq if asked.watches else unread_position(standing.endpoint.pk, standing.last_seq)
    unread = max(unread, began_at)
    if asked.after is None:
        return unread, None
    return unread, Reset("AHEAD" if asked.after.epoch == standing.epoch else "EPOCH_CHANGED", asked.after)


# The server's own identity is part of the epoch: whoever restores a dump into another one begins another numbering.
_CURSORS = """
SELECT endpoint_id, last_seq, left(md5(epoch::text || (SELECT system_identifier FROM pg_control_system())), 8),
       clock_timestamp()
FROM routing_cursor WHERE endpoint_id = ANY(%s)
"""
