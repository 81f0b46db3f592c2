"""Who may send what next: fair over workspaces and endpoints, first attempts before retries, within every limit."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.db import connection, transaction

from routing.queue.jobs import LEASE_S, Job, Target

ENDPOINT_IN_FLIGHT = 100  # of one endpoint, over all processes, unless the endpoint says otherwise
WORKSPACE_IN_FLIGHT = 1_000  # of one workspace, over all processes
BURST = 0.05  # of a rate limit's count that may go at once


def claim(*, limit: int, per_endpoint: int, rooms: Mapping[UUID, int]) -> list[Job]:
    """Lease up to `limit` due deliveries: of each endpoint at most `per_endpoint`, or what `rooms` says of it.

    The cost does not depend on how much is queued: it is two index probes an endpoint, and one a row taken.
    """
    parameters: dict[str, Any] = {
        "rooms": msgspec.json.encode([{"endpoint_id": id_, "room": room} for id_, room in rooms.items()]).decode(),
        "per_endpoint": per_endpoint,
        "endpoint_in_flight": ENDPOINT_IN_FLIGHT,
        "workspace_in_flight": WORKSPACE_IN_FLIGHT,
        "burst": BURST,
        "limit": limit,
        "lease_s": LEASE_S,
        "token": uuid4(),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        rows = cursor.fetchall()
        targets = read_targets(cursor, {row[0] for row in rows}) if rows else {}
    return [Job(targets[row[0]], *row[1:]) for row in rows]


def seconds_until_ready(*, at_most: float) -> float:
    """Return when a claim may find something: a delivery due, in a lane that is ready and has room."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_READY, {"at_most": at_most, "endpoint_in_flight": ENDPOINT_IN_FLIGHT})
        (seconds,) = cursor.fetchone()
    return min(max(float(seconds), 0.0), at_most)


def read_targets(cursor: Any, endpoint_ids: Iterable[UUID]) -> dict[UUID, Target]:
    cursor.execute(_TARGETS, [list(endpoint_ids)])
    targets = (
        Target(id_, workspace_id, url, method, json.loads(headers), format_, json.loads(policy), ordering, _keys(keys))
        for id_, workspace_id, url, method, headers, format_, policy, ordering, keys in cursor.fetchall()
    )
    return {target.endpoint_id: target for target in targets}


def _keys(document: str) -> list[tuple[str, bytes]]:
    return [(scheme, sealed.encode()) for scheme, sealed in json.loads(document)]


# hop: each endpoint that has anything due, found by hopping along the two indexes from one endpoint to the next.
_HOP = """
first_hop(endpoint_id) AS (
    (SELECT endpoint_id FROM routing_delivery WHERE due_at IS NOT NULL AND attempts_made = 0
     ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT delivery.endpoint_id FROM routing_delivery AS delivery
        WHERE delivery.due_at IS NOT NULL AND delivery.attempts_made = 0
          AND delivery.endpoint_id > first_hop.endpoint_id
        ORDER BY delivery.endpoint_id LIMIT 1
    ) FROM first_hop WHERE first_hop.endpoint_id IS NOT NULL
), again_hop(endpoint_id) AS (
    (SELECT endpoint_id FROM routing_delivery WHERE state = 'PENDING' AND due_at IS NOT NULL AND attempts_made > 0
     ORDER BY endpoint_id LIMIT 1)
    UNION ALL
    SELECT (
        SELECT delivery.endpoint_id FROM routing_delivery AS delivery
        WHERE delivery.state = 'PENDING' AND delivery.due_at IS NOT NULL AND delivery.attempts_made > 0
          AND delivery.endpoint_id > again_hop.endpoint_id
        ORDER BY delivery.endpoint_id LIMIT 1
    ) FROM again_hop WHERE again_hop.endpoint_id IS NOT NULL
), hop AS MATERIALIZED (
    SELECT endpoint_id FROM first_hop WHERE endpoint_id IS NOT NULL
    UNION
    SELECT endpoint_id FROM again_hop WHERE endpoint_id IS NOT NULL
)
"""

# standing: the endpoints that may be sent to, one of each workspace before the second of any.
# room: how many each lane takes now, in the lane's newest version, for the lanes that nobody else is claiming from.
# taken: first attempts, then what is due again.
_CLAIM = f"""
WITH RECURSIVE {_HOP}, busy AS MATERIALIZED (
    SELECT endpoint.workspace_id, sum(lane.in_flight) AS in_flight
    FROM endpoints_endpoint AS endpoint JOIN routing_lane AS lane ON lane.endpoint_id = endpoint.id
    WHERE endpoint.workspace_id IN (
        SELECT workspace_id FROM endpoints_endpoint AS wanting JOIN hop ON wanting.id = hop.endpoint_id)
    GROUP BY endpoint.workspace_id
), standing AS MATERIALIZED (
    SELECT endpoint.id, endpoint.workspace_id, endpoint.rate_limit, endpoint.rate_period_s,
           coalesce(endpoint.max_in_flight, %(endpoint_in_flight)s) AS max_in_flight,
           %(workspace_in_flight)s - busy.in_flight AS workspace_room,
           coalesce(rooms.room, %(per_endpoint)s) AS process_room,
           row_number() OVER (PARTITION BY endpoint.workspace_id ORDER BY random()) AS turn
    FROM hop
    JOIN endpoints_endpoint AS endpoint ON endpoint.id = hop.endpoint_id
    JOIN busy ON busy.workspace_id = endpoint.workspace_id
    LEFT JOIN json_to_recordset(%(rooms)s::json) AS rooms(endpoint_id uuid, room int)
           ON rooms.endpoint_id = endpoint.id
    WHERE endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
), open_lane AS MATERIALIZED (
    SELECT standing.*, lane.opened_at, bucket.tokens,
           least(process_room, workspace_room, max_in_flight - lane.in_flight, floor(bucket.tokens),
                 CASE WHEN lane.opened_at IS NOT NULL THEN 1 - lane.in_flight END)::int AS room
    FROM standing JOIN routing_lane AS lane ON lane.endpoint_id = standing.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN rate_limit IS NOT NULL THEN
            least(greatest(1, rate_limit * %(burst)s),
                  lane.tokens + extract(epoch FROM clock_timestamp() - lane.tokens_at)::float8
                                * rate_limit / rate_period_s)
        END AS tokens
    ) AS bucket
    WHERE lane.ready_at <= clock_timestamp()
    ORDER BY standing.turn, random()
    FOR UPDATE OF lane SKIP LOCKED
), taken AS MATERIALIZED (
    SELECT delivery.id, open_lane.id AS endpoint_id
    FROM open_lane CROSS JOIN LATERAL (
        SELECT id FROM (
            SELECT id FROM routing_delivery
            WHERE endpoint_id = open_lane.id AND due_at <= clock_timestamp() AND attempts_made = 0
            ORDER BY seq LIMIT open_lane.room FOR UPDATE SKIP LOCKED) AS first
        UNION ALL
        SELECT id FROM (
            SELECT id FROM routing_delivery
            WHERE endpoint_id = open_lane.id AND due_at <= clock_timestamp() AND attempts_made > 0 AND state = 'PENDING'
            ORDER BY due_at, seq LIMIT open_lane.room FOR UPDATE SKIP LOCKED) AS again
        LIMIT open_lane.room
    ) AS delivery
    WHERE open_lane.room > 0
    LIMIT %(limit)s
), charged AS (
    UPDATE routing_lane AS lane
    SET in_flight = lane.in_flight + share.count,
        tokens = coalesce(share.tokens - share.count, 0),
        tokens_at = clock_timestamp(),
        ready_at = CASE WHEN share.tokens - share.count < 1
                        THEN clock_timestamp() + (1 - share.tokens + share.count) * share.rate_period_s
                                                 / share.rate_limit * interval '1 second'
                        ELSE lane.ready_at END
    FROM (
        SELECT open_lane.id, open_lane.tokens, rate_limit, rate_period_s, count(*) AS count
        FROM taken JOIN open_lane ON open_lane.id = taken.endpoint_id
        GROUP BY open_lane.id, open_lane.tokens, rate_limit, rate_period_s
    ) AS share
    WHERE lane.endpoint_id = share.id
), claimed AS (
    UPDATE routing_delivery AS delivery
    SET state = 'SENDING', attempts_made = delivery.attempts_made + 1, lease_token = %(token)s,
        due_at = clock_timestamp() + %(lease_s)s * interval '1 second'
    FROM taken WHERE delivery.id = taken.id
    RETURNING delivery.*
)
SELECT claimed.endpoint_id, claimed.id, claimed.workspace_id, claimed.ordering_key, claimed.attempts_made,
       claimed.creation_date, event.id, event.type, event.date, event.source, event.subject, event.data,
       clock_timestamp(), claimed.lease_token
FROM claimed JOIN routing_event AS event ON event.id = claimed.event_id
"""

_NEXT_READY = f"""
WITH RECURSIVE {_HOP}
SELECT coalesce(extract(epoch FROM min(greatest(lane.ready_at, due.at)) - clock_timestamp()), %(at_most)s)
FROM hop
JOIN endpoints_endpoint AS endpoint ON endpoint.id = hop.endpoint_id
JOIN routing_lane AS lane ON lane.endpoint_id = hop.endpoint_id
CROSS JOIN LATERAL (
    SELECT least(
        (SELECT min(due_at) FROM (
            SELECT due_at FROM routing_delivery WHERE endpoint_id = hop.endpoint_id AND due_at IS NOT NULL
              AND attempts_made = 0 ORDER BY seq LIMIT 1) AS first),
        (SELECT due_at FROM routing_delivery WHERE endpoint_id = hop.endpoint_id AND state = 'PENDING'
           AND due_at IS NOT NULL AND attempts_made > 0 ORDER BY due_at LIMIT 1)) AS at
) AS due
WHERE endpoint.state = 'ACTIVE' AND endpoint.deleted_at IS NULL
  AND lane.in_flight < CASE WHEN lane.opened_at IS NOT NULL THEN 1
                            ELSE coalesce(endpoint.max_in_flight, %(endpoint_in_flight)s) END
"""

# The signing keys, the current ones first; those that a rotation replaced until their overlap is over.
_TARGETS = """
SELECT endpoint.id, endpoint.workspace_id, endpoint.url, endpoint.method, endpoint.headers::text,
       endpoint.payload_format, endpoint.retry_policy::text, endpoint.ordering,
       (SELECT coalesce(json_agg(json_build_array(scheme, convert_from(sealed, 'UTF8'))
                                 ORDER BY expires_at DESC NULLS FIRST, scheme, creation_date DESC), '[]')::text
        FROM endpoints_signingkey AS key
        WHERE key.endpoint_id = endpoint.id AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp()))
FROM endpoints_endpoint AS endpoint WHERE endpoint.id = ANY(%s)
"""
