"""From events to deliveries, inside the transaction that records the events."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from endpoints.errors import BadInput
from endpoints.models import Endpoint
from endpoints.patterns import Index, Pattern, parse_definition
from endpoints.tenancy import NARROW, WIDEN
from routing import metrics, order, tracing
from routing.plans import Ask, Guess, Plan, Tell
from routing.submissions import NewEvent

logger = logging.getLogger(__name__)

MAX_WORKSPACES = 1_000  # whose routes one process keeps compiled
MOST_OWED = 100_000  # deliveries of one transaction
WRITTEN_AT_ONCE = 5_000  # of these, between which an event loop has its turn

# Hints for workers and consumers; both look by themselves when no hint comes.
WEBHOOK_HINT = "event_service_webhooks"  # no payload
WEB_SOCKET_HINT = "event_service_websockets"  # endpoint ids, comma-separated; empty: look at all
_MAX_HINTED = 200  # PostgreSQL carries payloads of up to 8,000 bytes


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint that may be owed events."""

    endpoint_id: UUID
    type: str
    disabled: bool
    ordered: bool  # by ordering key


@dataclass(frozen=True, slots=True)
class Routes:
    """Who wants what in one workspace, as it stands at `version` of the workspace's configuration."""

    version: int
    unfiltered: Sequence[Target]
    patterns: Mapping[str, Pattern]  # by the text of their definition
    filtered: Index[Iterable[Target]]
    dated: bool  # whether a filter looks at dates

    def wanting(self, event: NewEvent) -> Iterable[Target]:
        """Return each endpoint that wants `event`, once, however many of its filters match."""
        wanting = dict.fromkeys(self.unfiltered)
        if self.patterns:
            for targets in self.filtered.matching(event.fields()):
                wanting.update(dict.fromkeys(targets))
        if event.about:
            return [target for target in wanting if target.endpoint_id != event.about]
        return wanting


_compiled: dict[UUID, Routes] = {}


def route(*, events: Sequence[NewEvent], **_: Any) -> Plan[None]:
    """Write what the recorded events are owed. Receives events_recorded. Raises BadInput where that is too much."""
    workspace_ids = list({event.workspace_id for event in events})
    rows = yield Ask(_VERSIONS, [workspace_ids], _guessed(workspace_ids))
    routes = {}
    for workspace_id, version in rows:
        routes[workspace_id] = yield from _routes_at(workspace_id, version)
    events = yield from _dated(events, routes)
    with metrics.match_seconds.time(), tracing.span("match", events=len(events)):
        owed: list[tuple[NewEvent, Target]] = []
        for event in events:
            owed += [(event, target) for target in routes[event.workspace_id].wanting(event)]
            if len(owed) > MOST_OWED:
                what, right = "These events are", "send fewer at once"
                if len(events) == 1:
                    what, right = "This event is", "have filters want it for fewer endpoints"
                raise BadInput(f"{what} owed to endpoints over {MOST_OWED} times; {right}.")
        tracing.note(deliveries=len(owed))
    metrics.matched.inc(len(owed))
    if len(owed) > WRITTEN_AT_ONCE:
        yield order.locking({target.endpoint_id for _, target in owed})  # all of them before the first, in one order
        for start in range(0, len(owed), WRITTEN_AT_ONCE):
            yield from _writing(owed[start : start + WRITTEN_AT_ONCE])
            yield Ask("SELECT 1")  # so that what is held goes out now
    elif owed:
        yield from _writing(owed)


def _guessed(workspace_ids: Sequence[UUID]) -> Guess | None:
    """Guess that the routes which are known are still those of today."""
    known = [(id_, kept.version) for id_ in workspace_ids if (kept := _compiled.get(id_))]
    if len(known) < len(workspace_ids):
        return None
    return Guess(known, Tell(_STILL_AT, [len(known), workspace_ids, [version for _, version in known]]))


def _dated(events: Sequence[NewEvent], routes: Mapping[UUID, Routes]) -> Plan[Sequence[NewEvent]]:
    """Return the events with the dates that the database gave them, where a filter looks at dates."""
    undated = [event.id for event in events if event.date is None and routes[event.workspace_id].dated]
    if not undated:
        return events
    dates: dict[UUID, datetime] = dict((yield Ask(_DATES, [undated])))
    return [replace(event, date=dates.get(event.id, event.date)) for event in events]


def _routes_at(workspace_id: UUID, version: int) -> Plan[Routes]:
    """Return the workspace's routes, compiled anew where the version that this transaction sees is another."""
    kept = _compiled.pop(workspace_id, None)
    if kept and kept.version == version:
        routes = kept
    else:
        yield Tell(NARROW, [str(workspace_id)])
        routes = yield from _compiling(workspace_id, version, kept.patterns if kept else {})
        yield Tell(WIDEN)
    _compiled[workspace_id] = routes  # last in, so that the first is the one unused for longest
    if len(_compiled) > MAX_WORKSPACES:
        _compiled.pop(next(iter(_compiled)), None)
    return routes


def _compiling(workspace_id: UUID, version: int, known: Mapping[str, Pattern]) -> Plan[Routes]:
    """Return the routes. Patterns that are `known` are not parsed again."""
    endpoints = yield Ask(_ENDPOINTS, [workspace_id])
    targets = {
        id_: Target(
            id_, type, disabled=state == Endpoint.State.DISABLED, ordered=ordering != Endpoint.Ordering.UNORDERED
        )
        for id_, type, state, ordering in endpoints
    }
    links = yield Ask(_LINKS, [workspace_id])
    wanting: dict[str, dict[Target, None]] = {}  # by definition: filters that say the same are one
    for definition, endpoint_id in links:
        if endpoint_id in targets:
            wanting.setdefault(definition, {})[targets[endpoint_id]] = None
    choosy = {target for wanted_by in wanting.values() for target in wanted_by}
    read = {text: known.get(text) or _read(text, workspace_id) for text in wanting}
    patterns = {text: pattern for text, pattern in read.items() if pattern}
    return Routes(
        version,
        unfiltered=[target for target in targets.values() if target not in choosy],
        patterns=patterns,
        filtered=Index([(pattern, wanting[text]) for text, pattern in patterns.items()]),
        dated=any(pattern.reads("date") for pattern in patterns.values()),
    )


def _read(definition: str, workspace_id: UUID) -> Pattern | None:
    """Return the pattern. One that other hands wrote and nobody can read wants nothing, and holds up no event."""
    try:
        return parse_definition(json.loads(definition))
    except BadInput as refusal:
        logger.error("A filter of workspace %s can't be read and matches nothing: %s", workspace_id, refusal)
        return None


def _writing(owed: Sequence[tuple[NewEvent, Target]]) -> Plan[None]:
    """Write the deliveries, numbered without gaps in the order of commits, and hint at them."""
    later: Counter[UUID] = Counter()  # how many deliveries of the same endpoint come after
    rows = []
    for event, target in reversed(owed):
        rows.append(
            {
                "id": uuid7(),
                "workspace_id": event.workspace_id,
                "event_id": event.id,
                "endpoint_id": target.endpoint_id,
                "later": later[target.endpoint_id],
                "ordering_key": event.ordering_key if target.ordered else "",
                "kind": "DISABLED" if target.disabled else target.type,
            }
        )
        later[target.endpoint_id] += 1
    web_sockets = {target.endpoint_id for _, target in owed if target.type == Endpoint.Type.WEB_SOCKET}
    hints = []
    if len(web_sockets) < len(later):
        hints.append({"channel": WEBHOOK_HINT, "payload": ""})
    if web_sockets:
        named = ",".join(map(str, web_sockets)) if len(web_sockets) <= _MAX_HINTED else ""
        hints.append({"channel": WEB_SOCKET_HINT, "payload": named})
    yield Tell(_WRITE, [msgspec.json.encode(rows).decode(), msgspec.json.encode(hints).decode()])
    if keys := {(target.endpoint_id, event.ordering_key) for event, target in owed if target.ordered}:
        yield Tell(*order.next_goes(keys))


_STILL_AT = """
SELECT ln((count(*) = %s)::int)
FROM unnest(%s::uuid[], %s::bigint[]) AS known(id, version) JOIN endpoints_workspace USING (id, version)
"""
_DATES = "SELECT id, date FROM routing_event WHERE id = ANY(%s)"
_VERSIONS = "SELECT id, version FROM endpoints_workspace WHERE id = ANY(%s)"
_ENDPOINTS = """
SELECT id, type, state, ordering FROM endpoints_endpoint WHERE workspace_id = %s AND deleted_at IS NULL ORDER BY id
"""
_LINKS = """
SELECT event_filter.definition::text, link.endpoint_id
FROM endpoints_filterlink AS link JOIN endpoints_eventfilter AS event_filter ON event_filter.id = link.event_filter_id
WHERE link.workspace_id = %s ORDER BY link.event_filter_id, link.endpoint_id
"""

# The cursor rows are locked in the order of endpoints, so that two batches never wait for each other in a ring,
# and stay locked until the commit, so that numbers follow commits.
_WRITE = """
WITH owed AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json)
        AS owed(id uuid, workspace_id uuid, event_id uuid, endpoint_id uuid, later int, ordering_key text,
                kind text)
), numbered AS (
    INSERT INTO routing_cursor AS cursor (endpoint_id, last_seq)
    SELECT endpoint_id, count(*) FROM owed GROUP BY endpoint_id ORDER BY endpoint_id
    ON CONFLICT (endpoint_id) DO UPDATE SET last_seq = cursor.last_seq + excluded.last_seq
    RETURNING endpoint_id, last_seq
), written AS (
    INSERT INTO routing_delivery
        (id, workspace_id, event_id, endpoint_id, seq, ordering_key, attempts_made, state, reason, due_at, settled_at)
    SELECT id, workspace_id, event_id, endpoint_id, last_seq - later, ordering_key, 0,
           CASE kind WHEN 'DISABLED' THEN 'SKIPPED' ELSE 'PENDING' END,
           CASE kind WHEN 'DISABLED' THEN 'ENDPOINT_DISABLED' ELSE '' END,
           CASE WHEN kind = 'WEB_HOOK' AND ordering_key = '' THEN statement_timestamp() END,
           CASE kind WHEN 'DISABLED' THEN statement_timestamp() END
    FROM owed JOIN numbered USING (endpoint_id)
)
SELECT pg_notify(channel, payload) FROM json_to_recordset(%s::json) AS hint(channel text, payload text)
"""
