"""What was counted is added up, apart from the transactions that count: a row of a roll-up is all of theirs."""

from django.db import connection, transaction

from routing.models import Rollup

AT_ONCE = 10_000  # counts of one turn: a worker has other things to do
_LOCK = 0x726F6C6C  # of the database: one process rolls up at a time


@transaction.atomic
def roll_up() -> int:
    """Add up what has been counted, a share of it. Return how many counts that were."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_ROLL_UP, {"at_once": AT_ONCE, "ever": list(Rollup.ROLLED_UP_EVER)})
        return int(cursor.fetchone()[0])


def forget() -> int:
    """Delete what is too old to be shown. Return how many rows that were."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [list(Rollup.KEPT_DAYS), list(Rollup.KEPT_DAYS.values())])
        return int(cursor.rowcount)


_ROLL_UP = """
WITH taken AS (
    DELETE FROM routing_count WHERE id IN (SELECT id FROM routing_count ORDER BY id LIMIT %(at_once)s) RETURNING *
), whose AS (
    SELECT workspace_id, endpoint_id, at, name, count FROM taken WHERE endpoint_id IS NOT NULL
    UNION ALL SELECT workspace_id, NULL, at, name, count FROM taken
    UNION ALL SELECT NULL, NULL, at, name, count FROM taken
), added AS (
    INSERT INTO routing_rollup AS kept (workspace_id, endpoint_id, period, at, name, count)
    SELECT workspace_id, endpoint_id, period, date_bin(length, at, 'epoch'), name, sum(count)
    FROM whose CROSS JOIN (VALUES ('MINUTE', interval '1 minute'), ('TEN_MINUTES', interval '10 minutes'),
                                  ('HOUR', interval '1 hour'), ('DAY', interval '1 day'),
                                  ('EVER', interval '1000000 days')) AS periods(period, length)
    WHERE period <> 'EVER' OR name = ANY(%(ever)s)
    GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT ON CONSTRAINT rollup_once DO UPDATE SET count = kept.count + excluded.count
)
SELECT count(*) FROM taken
"""
_FORGET = """
DELETE FROM routing_rollup USING unnest(%s::text[], %s::float8[]) AS kept(period, days)
WHERE routing_rollup.period = kept.period AND at < now() - kept.days * interval '1 day'
"""
