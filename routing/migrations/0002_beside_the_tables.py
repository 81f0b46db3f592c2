"""What PostgreSQL holds besides tables.

The view says: recorded = delivered + exhausted + skipped + cancelled + open + forgotten, for each endpoint, at all
times.

What was recorded is counted apart from the deliveries themselves, by the number that the cursor
has reached.

Its triggers run as the tables' owner: what they keep is not for those who set them off. Whose rows these may reach
say the policies: see endpoints/tenancy.py.
"""

from django.db import migrations

from endpoints.tenancy import guarded, ones_own

VIEW = """
CREATE VIEW routing_conservation AS
SELECT cursor.endpoint_id,
       cursor.last_seq AS recorded,
       count(*) FILTER (WHERE delivery.state = 'DELIVERED') AS delivered,
       count(*) FILTER (WHERE delivery.state = 'EXHAUSTED') AS exhausted,
       count(*) FILTER (WHERE delivery.state = 'SKIPPED') AS skipped,
       count(*) FILTER (WHERE delivery.state = 'CANCELLED') AS cancelled,
       count(*) FILTER (WHERE delivery.state IN ('PENDING', 'SENDING')) AS open,
       coalesce(max(forgotten.deliveries), 0) AS forgotten
FROM routing_cursor AS cursor LEFT JOIN routing_delivery AS delivery USING (endpoint_id)
LEFT JOIN routing_forgotten AS forgotten USING (endpoint_id)
GROUP BY cursor.endpoint_id, cursor.last_seq
"""
# Django can't make a table in partitions. The partitions themselves are made as time goes by: see partitions.py.
BY_DAYS = """
CREATE TABLE routing_attempt_by_days (LIKE routing_attempt INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
PARTITION BY RANGE (id);
DROP TABLE routing_attempt;
ALTER TABLE routing_attempt_by_days RENAME TO routing_attempt;
ALTER TABLE routing_attempt ADD PRIMARY KEY (id);
ALTER TABLE routing_attempt ADD CONSTRAINT attempt_in_workspace UNIQUE (workspace_id, id);
CREATE INDEX attempt_of_delivery ON routing_attempt (delivery_id, number)
"""
# As RFC 9562 has them, with bits that nobody need be unable to guess. PostgreSQL's own functions ask for others, for which
# a PostgreSQL that was built without OpenSSL, as the embedded one is, opens /dev/urandom each time: four times the cost.
UUID7 = """
CREATE FUNCTION routing_uuid7() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex(floor(date_part('epoch', clock_timestamp()) * 1000)::bigint), 12, '0')
            || to_hex(28672 + floor(random() * 4096)::int)   -- 7xxx
            || to_hex(32768 + floor(random() * 16384)::int)  -- 8xxx to bxxx
            || lpad(to_hex(floor(random() * 281474976710656)::bigint), 12, '0'))::uuid
$$
"""
# Each endpoint has its cursor and its lane from the start, so that they can be locked before the first delivery.
LANES = """
CREATE FUNCTION routing_open_lane() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO routing_cursor (endpoint_id, last_seq) VALUES (NEW.id, 0);
    IF NEW.type = 'WEB_HOOK' THEN
        INSERT INTO routing_lane (endpoint_id, in_flight, tokens, window_attempts, window_failures, openings,
                                  warned_percent, disable_reason)
        VALUES (NEW.id, 0, 0, 0, 0, 0, 0, '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER open_lane AFTER INSERT ON endpoints_endpoint FOR EACH ROW EXECUTE FUNCTION routing_open_lane()
"""
CLOSE_LANES = "DROP TRIGGER open_lane ON endpoints_endpoint; DROP FUNCTION routing_open_lane()"
# Somebody resumed the endpoint: what its lane knew against it is forgotten, but not a Retry-After of one that had not been
# disabled. Somebody changed its rate: it need not wait as long as the old one asked for, which may be a day. Once for the statement, so that the lanes are locked in the order
# of endpoints, as everywhere.
RESUME = """
CREATE FUNCTION routing_begin_again() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    WITH resumed AS MATERIALIZED (
        SELECT lane.endpoint_id, CASE WHEN before.state <> 'DISABLED' THEN lane.paused_until END AS paused_until
        FROM before JOIN after USING (id) JOIN routing_lane AS lane ON lane.endpoint_id = after.id
        WHERE after.state = 'ACTIVE'
          AND (before.state <> 'ACTIVE' OR after.resumed_at IS DISTINCT FROM before.resumed_at)
        ORDER BY lane.endpoint_id FOR UPDATE OF lane
    )
    UPDATE routing_lane AS lane
    SET ready_at = greatest(clock_timestamp(), resumed.paused_until), paused_until = resumed.paused_until,
        opened_at = NULL, openings = 0,
        window_started_at = clock_timestamp(), window_attempts = 0, window_failures = 0,
        failing_since = NULL, last_failed_at = NULL, warned_percent = 0, disable_reason = ''
    FROM resumed WHERE lane.endpoint_id = resumed.endpoint_id;
    WITH paced AS MATERIALIZED (
        SELECT lane.endpoint_id
        FROM before JOIN after USING (id) JOIN routing_lane AS lane ON lane.endpoint_id = after.id
        WHERE (before.rate_limit, before.rate_period_s) IS DISTINCT FROM (after.rate_limit, after.rate_period_s)
          AND lane.opened_at IS NULL
        ORDER BY lane.endpoint_id FOR UPDATE OF lane
    )
    UPDATE routing_lane AS lane SET ready_at = least(lane.ready_at, greatest(clock_timestamp(), lane.paused_until))
    FROM paced WHERE lane.endpoint_id = paced.endpoint_id;
    RETURN NULL;
END $$;
CREATE TRIGGER begin_again AFTER UPDATE ON endpoints_endpoint REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION routing_begin_again()
"""
STAY = "DROP TRIGGER begin_again ON endpoints_endpoint; DROP FUNCTION routing_begin_again()"
# Who watches an endpoint is told which of its deliveries were written or changed. Where nobody does, this is one look
# into an empty index. Processes that gave no sign of life for a minute are not written for. A function that is VOLATILE
# sees who came since the statement began.
WATCH = """
CREATE FUNCTION routing_note_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM routing_socket WHERE watches) THEN
        INSERT INTO routing_deliverychange (endpoint_id, delivery_id, transaction_id, changed_at)
        SELECT changed.endpoint_id, changed.id, pg_current_xact_id()::text::bigint, clock_timestamp()
        FROM changed WHERE changed.endpoint_id IN (
            SELECT socket.endpoint_id
            FROM routing_socket AS socket JOIN routing_socketnode AS node ON node.id = socket.node_id
            WHERE socket.watches AND node.seen_at > clock_timestamp() - interval '1 minute');
        IF FOUND THEN
            PERFORM pg_notify('event_service_changes', '');
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_written AFTER INSERT ON routing_delivery REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_note_changes();
CREATE TRIGGER note_changed AFTER UPDATE ON routing_delivery REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_note_changes()
"""
LOOK_AWAY = """
DROP TRIGGER note_written ON routing_delivery;
DROP TRIGGER note_changed ON routing_delivery;
DROP FUNCTION routing_note_changes()
"""
# Who asks for a replay and who cancels it is in the audit log; how far it comes is not.
AUDIT = """
CREATE TRIGGER audit AFTER INSERT ON routing_replay FOR EACH ROW
EXECUTE FUNCTION endpoints_audit('Replay', '{}', '{id,workspace_id,creation_date,position,end,resume_at,wanted}');
CREATE TRIGGER audit_end AFTER UPDATE ON routing_replay FOR EACH ROW WHEN (NEW.state = 'CANCELLED')
EXECUTE FUNCTION endpoints_audit('Replay', '{}', '{ended_at}')
"""
OVERLOOK = "DROP TRIGGER audit ON routing_replay; DROP TRIGGER audit_end ON routing_replay"
# What happens is counted in the statement that makes it happen, whichever that is: see models/rollups.py. A final state
# is never left, so that it is counted once. What is no end costs one look at the changed rows. Names are made of
# groups: of each row they would be the dearest part.
#
# A session plans a function's statement once, for as many changed rows as there are the first time. So these rows are
# joined by a hash, or not at all: pairs of them, which are cheap for one row, are most of the work for hundreds.
#
# Attempts have no foreign key, which would lock deliveries whenever a partition comes or goes: whoever counts them looks.
COUNT = """
CREATE FUNCTION routing_bucket(ms float8) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT least(greatest(floor(2 * ln(greatest(ms, 1)) / ln(2)), 0), 60)::int
$$;
CREATE FUNCTION routing_count_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO routing_count (workspace_id, name, count)
    SELECT workspace_id, 'EVENTS', count(*) FROM changed GROUP BY workspace_id;
    RETURN NULL;
END $$;
CREATE FUNCTION routing_count_forgotten_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO routing_count (workspace_id, name, count)
    SELECT workspace_id, 'FORGOTTEN EVENTS', count(*) FROM changed GROUP BY workspace_id;
    RETURN NULL;
END $$;
CREATE FUNCTION routing_count_forgotten_deliveries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO routing_count (workspace_id, endpoint_id, name, count)
    SELECT workspace_id, endpoint_id, 'FORGOTTEN ' || state, count(*) FROM changed
    GROUP BY workspace_id, endpoint_id, state;
    RETURN NULL;
END $$;
CREATE FUNCTION routing_count_owed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO routing_count (workspace_id, endpoint_id, name, count)
    SELECT workspace_id, endpoint_id, name, count(*)
    FROM changed CROSS JOIN LATERAL (VALUES ('OWED'), (CASE WHEN settled_at IS NOT NULL THEN state END)) AS counted(name)
    WHERE name IS NOT NULL GROUP BY workspace_id, endpoint_id, name;
    RETURN NULL;
END $$;
CREATE FUNCTION routing_count_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM changed WHERE settled_at IS NOT NULL) THEN
        INSERT INTO routing_count (workspace_id, endpoint_id, name, count)
        SELECT workspace_id, endpoint_id, name, sum(count)
        FROM (
            SELECT workspace_id, endpoint_id, state, CASE state WHEN 'DELIVERED' THEN
                       routing_bucket(date_part('epoch', settled_at - creation_date) * 1000) END AS bucket,
                   sum(count) AS count
            FROM (
                SELECT workspace_id, endpoint_id, state, creation_date, settled_at, 1 AS count FROM changed
                UNION ALL
                SELECT workspace_id, endpoint_id, state, creation_date, settled_at, -1 FROM before
            ) AS ends
            WHERE settled_at IS NOT NULL GROUP BY 1, 2, 3, 4) AS ended
        CROSS JOIN LATERAL (VALUES (state), ('LATENCY ' || bucket)) AS counted(name)
        WHERE name IS NOT NULL AND count <> 0 GROUP BY workspace_id, endpoint_id, name;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION routing_no_delivery() RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RAISE foreign_key_violation USING CONSTRAINT = 'attempt_delivery_in_workspace',
        MESSAGE = 'an attempt is of no delivery of its workspace: attempt_delivery_in_workspace';
END $$;
CREATE FUNCTION routing_count_attempts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO routing_count (workspace_id, endpoint_id, name, count)
    SELECT workspace_id, endpoint_id, name, sum(count)
    FROM (
        SELECT changed.workspace_id, changed.error, count(*) AS count,
               CASE WHEN changed.duration_ms IS NOT NULL THEN routing_bucket(changed.duration_ms) END AS bucket,
               coalesce(delivery.endpoint_id, routing_no_delivery()) AS endpoint_id
        FROM changed LEFT JOIN (
            SELECT id, workspace_id, endpoint_id FROM routing_delivery
            WHERE id = ANY (ARRAY(SELECT delivery_id FROM changed))
        ) AS delivery ON delivery.id = changed.delivery_id AND delivery.workspace_id = changed.workspace_id
        GROUP BY 1, 2, 4, 5) AS made
    CROSS JOIN LATERAL (VALUES
        ('ATTEMPTS'), ('FAILED ' || nullif(error, '')), ('DURATION ' || bucket)) AS counted(name)
    WHERE name IS NOT NULL GROUP BY workspace_id, endpoint_id, name;
    RETURN NULL;
END $$;
CREATE TRIGGER count_events AFTER INSERT ON routing_event REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_events();
CREATE TRIGGER count_forgotten AFTER DELETE ON routing_event REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_forgotten_events();
CREATE TRIGGER count_forgotten AFTER DELETE ON routing_delivery REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_forgotten_deliveries();
CREATE TRIGGER count_owed AFTER INSERT ON routing_delivery REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_owed();
CREATE TRIGGER count_ended AFTER UPDATE ON routing_delivery REFERENCING OLD TABLE AS before NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_ended();
CREATE TRIGGER count_attempts AFTER INSERT ON routing_attempt REFERENCING NEW TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION routing_count_attempts()
"""
COUNT_NOTHING = """
DROP FUNCTION routing_count_events, routing_count_forgotten_events, routing_count_forgotten_deliveries CASCADE;
DROP FUNCTION routing_count_owed, routing_count_ended, routing_count_attempts CASCADE;
DROP FUNCTION routing_no_delivery, routing_bucket
"""
# Rows that change often leave room on their page, so that a change needs no new index entries.
# Where a change needs them, indexes that grow at their end leave room for them, too: each delivery has two entries before
# VACUUM, and pages that are full would be split, or searched for what is dead, which makes them no smaller in the end.
STORAGE = """
ALTER TABLE routing_cursor SET (fillfactor = 20);
ALTER TABLE routing_lane SET (fillfactor = 20);
ALTER TABLE routing_delivery SET (fillfactor = 70);
ALTER INDEX routing_delivery_pkey SET (fillfactor = 45);
ALTER INDEX delivery_in_workspace SET (fillfactor = 45)
"""

OF_A_WORKSPACE = ["event", "delivery", "attempt", "replay", "idempotencyrecord", "socket", "typetally", "dailyevents"]
OF_A_WORKSPACE += ["count", "rollup"]
OF_AN_ENDPOINT = ["cursor", "forgotten", "lane", "socketticket", "sharegroup", "deliverychange"]
ENDPOINT = "EXISTS (SELECT FROM endpoints_endpoint AS owner WHERE owner.id = endpoint_id AND workspace_id = {workspace})"
GROUP = "EXISTS (SELECT FROM routing_sharegroup AS owner WHERE owner.id = group_id)"


class Migration(migrations.Migration):
    dependencies = [("routing", "0001_initial"), ("endpoints", "0002_version_triggers")]
    operations = [
        migrations.RunSQL(BY_DAYS, migrations.RunSQL.noop),
        migrations.RunSQL(VIEW, "DROP VIEW routing_conservation"),
        migrations.RunSQL(UUID7, "DROP FUNCTION routing_uuid7()"),
        migrations.RunSQL(LANES, CLOSE_LANES),
        migrations.RunSQL(RESUME, STAY),
        migrations.RunSQL(WATCH, LOOK_AWAY),
        migrations.RunSQL(COUNT, COUNT_NOTHING),
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
        migrations.RunSQL(AUDIT, OVERLOOK),
        *(guarded(f"routing_{table}") for table in OF_A_WORKSPACE),
        *(guarded(f"routing_{table}", ENDPOINT) for table in OF_AN_ENDPOINT),
        guarded("routing_shareddelivery", GROUP),
        ones_own("routing_savedview", "user_id", rights="SELECT, INSERT, UPDATE, DELETE"),
    ]
