"""What was tallied is added up, apart from the transactions that record: a type's row is all of theirs."""

import random
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import connection, transaction

from endpoints.inferring import infer, merged
from endpoints.models import EventType
from endpoints.models.event_types import MAX_TYPES
from routing.models import Event

AT_ONCE = 10_000  # tallies of one fold
SAMPLES = 20  # events of one fold whose shape is looked at
_LOCK = 0x666F6C64  # of the database: one process folds at a time


class Folded(NamedTuple):
    """A type, and an event of it. The order is that of the query's columns."""

    workspace_id: UUID
    name: str
    shape: str | None
    event_id: UUID | None


def fold() -> int:
    """Add up what has been tallied, a share of it. Return of how many types there was something."""
    folded = _fold()
    _look_at(folded)
    return len(folded)


@transaction.atomic
def _fold() -> Sequence[Folded]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(_TAKE, [AT_ONCE])
        names = [name for name, *_ in cursor.description]
        sums = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        if not sums:
            return []
        document = msgspec.json.encode(sums).decode()
        cursor.execute(_HOLD, [document])
        cursor.execute(_ADD, [document, MAX_TYPES])
        folded = [Folded(*row) for row in cursor.fetchall()]
        listed = {(type.workspace_id, type.name) for type in folded}
        beyond = [each for each in sums if (each["workspace_id"], each["type"]) not in listed]
        cursor.execute(_ADD_UNLISTED, [msgspec.json.encode(beyond).decode()])
    return folded


def _look_at(folded: Sequence[Folded]) -> None:
    """Infer what a few of these types look like: first of those of which nothing is known."""
    sampled = [type for type in folded if type.event_id]
    chosen = sorted(sampled, key=lambda type: (type.shape is not None, random.random()))[:SAMPLES]
    texts = dict(Event.objects.filter(pk__in=[type.event_id for type in chosen]).values_list("pk", "data"))
    for type in chosen:
        if text := type.event_id and texts.get(type.event_id):
            new = infer(msgspec.json.decode(text))
            known = None if type.shape is None else msgspec.json.decode(type.shape)
            shape = new if known is None else merged(known, new)
            if shape != known:
                types = EventType.objects.filter(workspace_id=type.workspace_id, name=type.name)
                types.update(inferred_shape=shape)


# A workspace may have been deleted since: nothing is added up for it, and it is not deleted before that is done.
_TAKE = """
WITH taken AS (
    DELETE FROM routing_typetally WHERE id IN (SELECT id FROM routing_typetally ORDER BY id LIMIT %s) RETURNING *
), there AS MATERIALIZED (
    SELECT id FROM endpoints_workspace WHERE id IN (SELECT workspace_id FROM taken) ORDER BY id FOR KEY SHARE
)
SELECT workspace_id, type, sum(accepted)::bigint AS accepted, sum(warned)::bigint AS warned,
       sum(rejected)::bigint AS rejected, min(seen_at) AS first_seen_at, max(seen_at) AS last_seen_at,
       (array_agg(problem ORDER BY id DESC) FILTER (WHERE problem <> ''))[1] AS problem,
       max(seen_at) FILTER (WHERE problem <> '') AS problem_at,
       (array_agg(event_id ORDER BY id DESC) FILTER (WHERE event_id IS NOT NULL))[1] AS event_id
FROM taken WHERE workspace_id IN (SELECT id FROM there) GROUP BY workspace_id, type
"""
_SUMS = """
json_to_recordset(%s::json) AS new(
    workspace_id uuid, type text, accepted bigint, warned bigint, rejected bigint, first_seen_at timestamptz,
    last_seen_at timestamptz, problem text, problem_at timestamptz, event_id uuid)
"""
# In the order in which people's changes lock them: so nobody waits in a ring.
_HOLD = f"""
SELECT FROM endpoints_eventtype AS known JOIN {_SUMS} ON known.workspace_id = new.workspace_id AND known.name = new.type
ORDER BY known.id FOR NO KEY UPDATE OF known
"""
# Of types that are not there yet, as many are made as there is room for.
_ADD = f"""
WITH standing AS MATERIALIZED (
    SELECT new.*, known.id IS NOT NULL AS known,
           row_number() OVER (PARTITION BY new.workspace_id, known.id IS NULL
                              ORDER BY new.first_seen_at, new.type) AS nth
    FROM {_SUMS}
    LEFT JOIN endpoints_eventtype AS known ON known.workspace_id = new.workspace_id AND known.name = new.type
), listed AS MATERIALIZED (
    SELECT * FROM standing
    WHERE known OR nth + (SELECT count(*) FROM endpoints_eventtype AS there
                          WHERE there.workspace_id = standing.workspace_id) <= %s
), added AS (
    INSERT INTO endpoints_eventtype AS known (
        id, creation_date, last_modified, workspace_id, name, description, enforcement, count, warned, rejected,
        first_seen_at, last_seen_at, last_problem, last_problem_at)
    SELECT gen_random_uuid(), statement_timestamp(), statement_timestamp(), workspace_id, type, '', 'OFF', accepted,
           warned, rejected, first_seen_at, last_seen_at, coalesce(problem, ''), problem_at
    FROM listed ORDER BY workspace_id, type
    ON CONFLICT (workspace_id, name) DO UPDATE
    SET count = known.count + excluded.count, warned = known.warned + excluded.warned,
        rejected = known.rejected + excluded.rejected,
        first_seen_at = least(known.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(known.last_seen_at, excluded.last_seen_at),
        last_problem = CASE WHEN excluded.last_problem = '' THEN known.last_problem ELSE excluded.last_problem END,
        last_problem_at = coalesce(excluded.last_problem_at, known.last_problem_at)
    RETURNING workspace_id, name, inferred_shape::text
)
SELECT added.*, listed.event_id
FROM added JOIN listed ON listed.workspace_id = added.workspace_id AND listed.type = added.name
"""
_ADD_UNLISTED = f"""
WITH unlisted AS MATERIALIZED (
    SELECT workspace.id, sum(new.accepted) AS count
    FROM {_SUMS} JOIN endpoints_workspace AS workspace ON workspace.id = new.workspace_id
    GROUP BY workspace.id
), held AS MATERIALIZED (
    SELECT id FROM endpoints_workspace WHERE id IN (SELECT id FROM unlisted) ORDER BY id FOR NO KEY UPDATE
)
UPDATE endpoints_workspace AS workspace SET unlisted_events = unlisted_events + unlisted.count
FROM unlisted JOIN held USING (id) WHERE workspace.id = unlisted.id
"""
