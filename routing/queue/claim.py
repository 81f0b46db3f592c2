"""Who may send what next: fair over workspaces and endpoints, first attempts before retries, within every limit."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec

from event_service.postgres.prepared import prepared
from routing.queue.jobs import DOUBT, LEASE_S, Job, Target

ENDPOINT_IN_FLIGHT = 100  # of one endpoint, over all processes, unless the endpoint says otherwise
WORKSPACE_IN_FLIGHT = 1_000  # of one workspace; workers that claim at the same moment may each go up to it
BURST = 0.03  # of a rate limit's count, in whole requests, that may be made up for at once where a claim came late


def claim(*, limit: int, per_endpoint: int, rooms: Mapping[UUID, int], doubt: int = DOUBT) -> list[Job]:
    """Lease up to `limit` due deliveries: of each endpoint at most `per_endpoint`, or what `rooms` says of it.

    Of those that were lost before, as many as `doubt` allows: see Job.doubt. The cost does not depend on how much is
    queued: it is a few index probes an endpoint, and one a row taken.
    """
    parameters: dict[str, Any] = {
        "rooms": _document(rooms),
        "per_endpoint": per_endpoint,
        "endpoint_in_flight": ENDPOINT_IN_FLIGHT,
        "workspace_in_flight": WORKSPACE_IN_FLIGHT,
        "burst": BURST,
        "limit": limit,
        "doubt": doubt,
        "most_doubt": DOUBT,
        "lease_s": LEASE_S,
        "token": uuid4(),
    }
    with prepared() as cursor:  # one statement is a transaction by itself
        cursor.execute(_CLAIM, parameters)
        rows = cursor.fetchall()
    targets = _targets(rows[0][0]) if rows else {}
    return [Job(targets[row[1]], *row[2:]) for row in rows]


def seconds_until_ready(*, at_most: float, per_endpoint: int, rooms: Mapping[UUID, int]) -> float:
    """Return when a claim may find something: a delivery due, in a lane that is ready and has room, here too."""
    parameters: dict[str, Any] = {
        "rooms": _document(rooms),
        "per_endpoint": per_endpoint,
        "endpoint_in_flight": ENDPOINT_IN_FLIGHT,
        "at_most": at_most,
    }
    with prepared() as cursor:
        cursor.execute(_NEXT_READY, parameters)
        (seconds,) = cursor.fetchone()
    return min(max(float(seconds), 0.0), at_most)


def _document(rooms: Mapping[UUID, int]) -> str:
    return msgspec.json.encode([{"endpoint_id": id_, "room": room} for id_, room in rooms.items()]).decode()


def read_target(cursor: Any, endpoint_id: UUID) -> Target:
    cursor.execute(f"SELECT ({_TARGETS} WHERE endpoint.id = %s)", [endpoint_id])
    return _targets(cursor.fetchone()[0])[endpoint_id]


def _targets(document: str) -> dict[UUID, Target]:
    """Return what `_TARGETS` found."""
    found = (
        Target(
            *(UUID(id_), UUID(workspace_id), url, method, headers),
            *(format_, policy, ordering, [(scheme, sealed.encode()) for scheme, sealed in keys], shape),
        )
        for id_, workspace_id, url, method, headers, format_, policy, ordering, keys, shape in json.loads(document)
    )
    return {target.endpoint_id: target for target in found}


# hop: each endpoint that waits for a time, and for which, found by hopping along the two indexes from one endpoint to
# the next. First attempts wait for none: the database's clock may have been set back since.
_HOP = """
first_hop(endpoint_id) AS (
    (SELECT endpoint_id FROM routing_delivery WHERE due_at IS NOT NULL AND attempts_made = 0
     ORDER BY endpoint_id, seq LIMIT 1)
    UNION ALL
    SELECT next.endpoint_id FROM first_hop CROSS JOIN LATERAL (
        SELECT endpoint_id FROM routing_delivery
        WHERE due_at IS NOT NULL AND attempts_made = 0 AND endpoint_id > first_hop.endpoint_id
        ORDER BY endpoint_id, seq LIMIT 1
    ) AS next
), again_hop(endpoint_id, due_at) AS (
    (SELECT endpoint_id, due_at FROM routing_delivery
     WHERE state = 'PENDING' AND due_at IS NOT NULL AND attempts_made > 0
     ORDER BY endpoint_id, due_at LIMIT 1)
    UNION ALL
    SELECT next.endpoint_id, next.due_at FROM again_hop CROSS JOIN LATERAL (
        SELECT endpoint_id, due_at FROM routing_delivery
        WHERE state = 'PENDING' AND due_at IS NOT NULL AND attempts_made > 0 AND endpoint_id > again_hop.endpoint_id
        ORDER BY endpoint_id, due_at LIMIT 1
    ) AS next
), hop AS MATERIALIZED (
    SELECT endpoint_id, min(due_at) AS due_at
    FROM (
        SELECT endpoint_id, '-infinity'::timestamptz AS due_at FROM first_hop UNION ALL SELECT * FROM again_hop
    ) AS either
    GROUP BY endpoint_id
)
"""

# An open breaker lets one through at a time; after it, as many at once as have come back, and one.
_LANE_ROOM = """
least(coalesce(endpoint.max_in_flight, %(endpoint_in_flight)s),
      CASE WHEN lane.opened_at IS NOT NULL THEN 1 WHEN lane.openings > 0 THEN 1 + lane.window_attempts END)
- lane.in_flight
"""

# The columns of Target. The signing keys, the current ones first; those that a rotation replaced until their overlap is
# over.
_TARGETS = """
SELECT json_agg(json_build_array(
    endpoint.id, endpoint.workspace_id, endpoint.url, endpoint.method, endpoint.headers, endpoint.payload_format,
    endpoint.retry_policy, endpoint.ordering,
    (SELECT coalesce(json_agg(json_build_array(scheme, convert_from(sealed, 'UTF8'))
                              ORDER BY expires_at DESC NULLS FIRST, scheme, creation_date DESC), '[]')
     FROM endpoints_signingkey AS key
     WHERE key.endpoint_id = endpoint.id AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp())),
    endpoint.payload_shape::text))::text
FROM endpoints_endpoint AS endpoint
"""

# standing: the endpoints that may be sent to, one of each workspace before the second of any; those first that have
# least on its way.
# open_lane: the lanes that nobody else is claiming from, in their newest version. What depends on them is worked out
# afterwards: of the part that locks rows, PostgreSQL keeps some results from before another's commit.
# share: what each lane takes now; the lanes of a workspace share its room.
# helping: its equal part of what this claim takes in all, for each lane before the rest for any. What lies behind one
# lane does not fill a claim that others have something for.
# claimed: looked up by an array, and each event by itself: a join of that few rows may be planned as a walk through the
# whole table.
# thirsty: a lane that was made ready before its rate has room, as when it is resumed, is not looked at until then.
# lost, taken: what was lost before, in small doses; first attempts; what is due again. A row that somebody let go
# between the two helpings of its lane may be in both.
# unhurried: nobody waits until a claim is on the disk. One that a crash of the database takes back was never made: its
# delivery is due again, as after a crash before its settlement, and what came of it finds its token gone.
_CLAIM = f"""
WITH RECURSIVE {_HOP}, busy AS MATERIALIZED (
    SELECT endpoint.workspace_id, sum(lane.in_flight) AS in_flight
    FROM endpoints_endpoint AS endpoint JOIN routing_lane AS lane ON lane.endpoint_id = endpoint.id
    WHERE endpoint.workspace_id IN (
        SELECT workspace_id FROM endpoints_endpoint AS wanting JOIN hop ON wanting.id = hop.endpoint_id)
    GROUP BY endpoint.workspace_id
), standing AS MATERIALIZED (
    SELECT hop.endpoint_id, busy.workspace_id,
           greatest(%(workspace_in_flight)s - busy.in_flight, 0) AS workspace_room,
           coalesce(rooms.room, %(per_endpoint)s) AS process_room,
           row_number() OVER (PARTITION BY busy.workspace_id ORDER BY lane.in_flight, random()) AS turn
    FROM hop
    JOIN endpoints_endpoint AS endpoint ON endpoint.id = hop.endpoint_id
    JOIN routing_lane AS lane ON lane.endpoint_id = hop.endpoint_id
    JOIN busy ON busy.workspace_id = endpoint.workspace_id
    LEFT JOIN json_to_recordset(%(rooms)s::json) AS rooms(endpoint_id uuid, room int)
           ON rooms.endpoint_id = hop.endpoint_id
    WHERE hop.due_at <= statement_timestamp() AND lane.ready_at <= clock_timestamp()
      AND endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
), open_lane AS MATERIALIZED (
    SELECT standing.*, endpoint.rate_limit, endpoint.rate_period_s, lane.tokens AS tokens_left, lane.tokens_at,
           {_LANE_ROOM} AS lane_room, random() AS luck
    FROM standing
    JOIN endpoints_endpoint AS endpoint ON endpoint.id = standing.endpoint_id
    JOIN routing_lane AS lane ON lane.endpoint_id = standing.endpoint_id
    WHERE lane.ready_at <= clock_timestamp() AND standing.process_room > 0 AND {_LANE_ROOM} > 0
    FOR UPDATE OF lane SKIP LOCKED
), filled AS MATERIALIZED (
    SELECT *, count(*) OVER (PARTITION BY workspace_id) AS lanes,
           row_number() OVER (PARTITION BY workspace_id ORDER BY turn) AS nth,
           CASE WHEN rate_limit IS NOT NULL THEN
               least(1 + floor(rate_limit * %(burst)s),
                     tokens_left + extract(epoch FROM clock_timestamp() - tokens_at)::float8
                                   * rate_limit / rate_period_s)
           END AS tokens
    FROM open_lane
), share AS MATERIALIZED (
    SELECT *, least(process_room, lane_room, floor(tokens),
                    workspace_room / lanes + (nth <= mod(workspace_room, lanes))::int)::int AS room
    FROM filled
), lost AS MATERIALIZED (
    SELECT id, endpoint_id, weight::int FROM (
        SELECT delivery.id, share.endpoint_id, weight,
               sum(weight) OVER (ORDER BY delivery.due_at, delivery.id) AS weight_so_far
        FROM share CROSS JOIN LATERAL (
            SELECT id, due_at, least(5 ^ (losses - 1), %(most_doubt)s) AS weight FROM routing_delivery
            WHERE endpoint_id = share.endpoint_id AND due_at <= statement_timestamp() AND losses > 0
              AND state = 'PENDING'
            ORDER BY due_at LIMIT least(share.room, %(doubt)s) FOR UPDATE SKIP LOCKED
        ) AS delivery
        WHERE share.room > 0 AND %(doubt)s > 0
    ) AS doubtful
    WHERE weight_so_far <= %(doubt)s
), helping AS MATERIALIZED (
    SELECT endpoint_id, skipped, helping.room
    FROM share
    CROSS JOIN LATERAL (
        SELECT share.room - count(*) AS room FROM lost WHERE lost.endpoint_id = share.endpoint_id
    ) AS rest
    CROSS JOIN (SELECT greatest(%(limit)s / greatest(count(*), 1), 1) AS room FROM share WHERE room > 0) AS equal
    CROSS JOIN LATERAL (
        VALUES (0, least(rest.room, equal.room)), (equal.room, rest.room - equal.room)
    ) AS helping(skipped, room)
    WHERE helping.room > 0
    ORDER BY skipped, nth, luck
), taken AS MATERIALIZED (
    SELECT id, endpoint_id, weight FROM (
        SELECT id, endpoint_id, weight FROM lost
        UNION ALL
        SELECT delivery.id, helping.endpoint_id, 0
        FROM helping
        CROSS JOIN LATERAL (
            SELECT id FROM (
                SELECT id FROM routing_delivery
                WHERE endpoint_id = helping.endpoint_id AND due_at IS NOT NULL AND attempts_made = 0
                ORDER BY seq LIMIT skipped + helping.room FOR UPDATE SKIP LOCKED) AS first
            UNION ALL
            SELECT id FROM (
                SELECT id FROM routing_delivery
                WHERE endpoint_id = helping.endpoint_id AND due_at <= statement_timestamp() AND attempts_made > 0
                  AND state = 'PENDING' AND losses = 0
                ORDER BY due_at, seq LIMIT skipped + helping.room FOR UPDATE SKIP LOCKED) AS again
            OFFSET skipped LIMIT helping.room
        ) AS delivery
    ) AS either
    LIMIT %(limit)s
), charged AS (
    UPDATE routing_lane AS lane
    SET in_flight = lane.in_flight + charge.count,
        tokens = coalesce(charge.tokens - charge.count, 0),
        tokens_at = clock_timestamp(),
        ready_at = CASE WHEN charge.tokens - charge.count < 1
                        THEN clock_timestamp() + (1 - charge.tokens + charge.count) * charge.rate_period_s
                                                 / charge.rate_limit * interval '1 second'
                        ELSE lane.ready_at END
    FROM (
        SELECT share.endpoint_id, share.tokens, rate_limit, rate_period_s, count(DISTINCT taken.id) AS count
        FROM taken JOIN share USING (endpoint_id)
        GROUP BY share.endpoint_id, share.tokens, rate_limit, rate_period_s
    ) AS charge
    WHERE lane.endpoint_id = charge.endpoint_id
), thirsty AS (
    UPDATE routing_lane AS lane
    SET ready_at = clock_timestamp() + (1 - share.tokens) * share.rate_period_s / share.rate_limit * interval '1 second'
    FROM share WHERE lane.endpoint_id = share.endpoint_id AND share.tokens < 1
), claimed AS (
    UPDATE routing_delivery AS delivery
    SET state = 'SENDING', attempts_made = delivery.attempts_made + 1, lease_token = %(token)s,
        due_at = clock_timestamp() + %(lease_s)s * interval '1 second'
    FROM taken WHERE delivery.id = ANY (ARRAY(SELECT id FROM taken)) AND delivery.id = taken.id
    RETURNING delivery.*, taken.weight
), unhurried AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
)
SELECT CASE WHEN row_number() OVER (ORDER BY claimed.seq, claimed.id) = 1
            THEN ({_TARGETS} WHERE endpoint.id IN (SELECT endpoint_id FROM taken)) END,
       claimed.endpoint_id, claimed.id, claimed.workspace_id, claimed.ordering_key, claimed.attempts_made,
       claimed.creation_date, event.id, event.type, event.date, event.source, event.subject, event.data,
       clock_timestamp(), claimed.lease_token, claimed.weight, event.traceparent, event.extensions
FROM claimed CROSS JOIN LATERAL (SELECT * FROM routing_event WHERE id = claimed.event_id LIMIT 1) AS event
CROSS JOIN unhurried
ORDER BY claimed.seq, claimed.id
"""

_NEXT_READY = f"""
WITH RECURSIVE {_HOP}
SELECT coalesce(extract(epoch FROM min(greatest(lane.ready_at, hop.due_at)) - clock_timestamp()), %(at_most)s)
FROM hop
JOIN endpoints_endpoint AS endpoint ON endpoint.id = hop.endpoint_id
JOIN routing_lane AS lane ON lane.endpoint_id = hop.endpoint_id
LEFT JOIN json_to_recordset(%(rooms)s::json) AS rooms(endpoint_id uuid, room int)
       ON rooms.endpoint_id = hop.endpoint_id
WHERE endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
  AND coalesce(rooms.room, %(per_endpoint)s) > 0 AND {_LANE_ROOM} > 0
"""
