"""Every change of a workspace's configuration raises its version, in the same transaction, whoever makes it.

Versions come from a sequence: the one of a change that was undone is never given out again.

And the policies of row-level security: see endpoints/tenancy.py.
"""

from django.db import migrations

from endpoints.tenancy import guarded, roles

SEQUENCE = "CREATE SEQUENCE endpoints_workspace_version MINVALUE 2"
FUNCTION = """
CREATE FUNCTION raise_workspace_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE endpoints_workspace SET version = nextval('endpoints_workspace_version')
    WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.workspace_id ELSE NEW.workspace_id END;
    RETURN NULL;
END $$
"""
# Columns that routing does not look at, such as last_used_at, must not throw away what was compiled.
WATCHED = {
    "endpoints_endpoint": "workspace_id, type, state, ordering, deleted_at",
    "endpoints_eventfilter": "definition",
    "endpoints_filterlink": "endpoint_id, event_filter_id",
}

OF_A_WORKSPACE = ["apikey", "endpoint", "eventfilter", "eventtype", "filterlink", "signingkey"]


def trigger(table, columns):
    return migrations.RunSQL(
        f"CREATE TRIGGER raise_version AFTER INSERT OR DELETE OR UPDATE OF {columns} ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION raise_workspace_version()",
        f"DROP TRIGGER raise_version ON {table}",
    )


TYPES_FUNCTION = """
CREATE FUNCTION raise_types_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE endpoints_workspace SET types_version = nextval('endpoints_workspace_version')
    WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.workspace_id ELSE NEW.workspace_id END;
    RETURN NULL;
END $$
"""
# What arrives makes types and counts them all the time, which changes nothing that is enforced.
ENFORCING = {
    "INSERT": "NEW.enforcement <> 'OFF'",
    "DELETE": "OLD.enforcement <> 'OFF'",
    "UPDATE OF workspace_id, name, schema, enforcement": "OLD.enforcement <> 'OFF' OR NEW.enforcement <> 'OFF'",
}


def types_trigger(change, condition):
    name = f"raise_types_version_{change[:6].lower()}"
    return migrations.RunSQL(
        f"CREATE TRIGGER {name} AFTER {change} ON endpoints_eventtype "
        f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION raise_types_version()",
        f"DROP TRIGGER {name} ON endpoints_eventtype",
    )


class Migration(migrations.Migration):
    dependencies = [("endpoints", "0001_initial")]
    operations = [
        migrations.RunSQL(SEQUENCE, "DROP SEQUENCE endpoints_workspace_version"),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION raise_workspace_version()"),
        *(trigger(table, columns) for table, columns in WATCHED.items()),
        migrations.RunSQL(TYPES_FUNCTION, "DROP FUNCTION raise_types_version()"),
        *(types_trigger(change, condition) for change, condition in ENFORCING.items()),
        roles(),
        guarded("endpoints_workspace", "id = {workspace}"),
        *(guarded(f"endpoints_{table}") for table in OF_A_WORKSPACE),
    ]
