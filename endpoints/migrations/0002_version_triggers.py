"""What PostgreSQL does by itself: versions of configurations, the audit log, and who may reach which rows.

Every change of a workspace's configuration raises its version, in the same transaction, whoever makes it.

Versions come from a sequence: the one of a change that was undone is never given out again.

Of every change of the tables that people edit an entry is written, for whoever a setting says that acts: see
endpoints/audit.py. Policies of row-level security: see endpoints/tenancy.py.
"""

from django.conf import settings
from django.db import migrations

from endpoints.tenancy import guarded, ones_own, roles, shared

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

# A note of the actor whom the transaction, or the session, names; else of the user of the database.
NOTE = """
CREATE FUNCTION endpoints_note(type text, id text, workspace uuid, changes jsonb, otherwise text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    actor jsonb := coalesce(nullif(current_setting('event_service.actor', true), ''), '{}')::jsonb;
BEGIN
    INSERT INTO endpoints_auditentry (id, workspace_id, at, actor_kind, actor_id, actor_name, address, operation,
                                      object_type, object_id, changes)
    VALUES (gen_random_uuid(), workspace, clock_timestamp(), coalesce(actor->>'kind', 'DATABASE'),
            left(coalesce(actor->>'id', session_user), 200),
            left(coalesce(actor->>'name', current_setting('application_name')), 200),
            left(coalesce(actor->>'address', host(inet_client_addr()), ''), 200),
            left(coalesce(actor->>'operation', otherwise), 200), type, id, changes);
END $$
"""
# Told by its arguments what the object is called, which columns are secret, and which tell nothing.
AUDIT = """
CREATE FUNCTION endpoints_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    row jsonb := before || after;
    changes jsonb;
BEGIN
    SELECT jsonb_object_agg(field, CASE WHEN field = ANY (TG_ARGV[1]::text[]) THEN '{"secret": true}'
                                   ELSE jsonb_build_object('before', before->field, 'after', after->field) END)
    INTO changes FROM jsonb_object_keys(row) AS field
    WHERE nullif(before->field, 'null') IS DISTINCT FROM nullif(after->field, 'null')
      AND field <> ALL (TG_ARGV[2]::text[]);
    IF changes IS NOT NULL OR TG_OP <> 'UPDATE' THEN
        PERFORM endpoints_note(
            TG_ARGV[0], row->>'id',
            CASE TG_ARGV[0] WHEN 'Workspace' THEN row->>'id' ELSE row->>'workspace_id' END::uuid,
            coalesce(changes, '{}'), TG_OP);
    END IF;
    RETURN NULL;
END $$
"""
QUIET = "id,workspace_id,creation_date,last_modified,version,types_version,unlisted_events,last_used_at,last_login"
SECRET = "digest,sealed,fingerprint,headers,password,logo"
AUDITED = {
    "endpoints_workspace": "Workspace",
    "endpoints_apikey": "ApiKey",
    "endpoints_endpoint": "Endpoint",
    "endpoints_eventfilter": "EventFilter",
    "endpoints_filterlink": "FilterLink",
    "endpoints_signingkey": "SigningKey",
    "endpoints_staffbinding": "StaffBinding",
    "endpoints_portaltheme": "PortalTheme",
    "auth_user": "User",
    "auth_user_groups": "UserGroup",
    "auth_user_user_permissions": "UserPermission",
    "auth_group": "Group",
    "auth_group_permissions": "GroupPermission",
}
# What was written stays as it is, and is forgotten only when it is old.
KEEP = """
CREATE FUNCTION endpoints_keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < now() - interval '30 days'
       AND current_setting('event_service.audit_retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'The audit log is only added to.' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON endpoints_auditentry
FOR EACH ROW EXECUTE FUNCTION endpoints_keep_audit()
"""
FORGET = "DROP TRIGGER keep ON endpoints_auditentry; DROP FUNCTION endpoints_keep_audit()"

OF_A_WORKSPACE = ["apikey", "endpoint", "eventfilter", "eventtype", "filterlink", "signingkey"]
OF_A_WORKSPACE += ["portallink", "portaltheme"]


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


def audited(table, type, changes="INSERT OR DELETE OR UPDATE"):
    return migrations.RunSQL(
        f"CREATE TRIGGER audit AFTER {changes} ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION endpoints_audit('{type}', '{{{SECRET}}}', '{{{QUIET}}}')",
        f"DROP TRIGGER audit ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("endpoints", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("admin", "0001_initial"),
        ("contenttypes", "0001_initial"),
    ]
    operations = [
        migrations.RunSQL(SEQUENCE, "DROP SEQUENCE endpoints_workspace_version"),
        migrations.RunSQL(FUNCTION, "DROP FUNCTION raise_workspace_version()"),
        *(trigger(table, columns) for table, columns in WATCHED.items()),
        migrations.RunSQL(TYPES_FUNCTION, "DROP FUNCTION raise_types_version()"),
        *(types_trigger(change, condition) for change, condition in ENFORCING.items()),
        migrations.RunSQL(NOTE, "DROP FUNCTION endpoints_note(text, text, uuid, jsonb, text)"),
        migrations.RunSQL(AUDIT, "DROP FUNCTION endpoints_audit()"),
        *(audited(table, type) for table, type in AUDITED.items()),
        # What arrives makes types and counts them; what people decide of them is audited.
        audited("endpoints_eventtype", "EventType", "DELETE OR UPDATE OF description, schema, enforcement"),
        # One that has been over for a month is forgotten, which tells nothing.
        audited("endpoints_portallink", "PortalLink", "INSERT OR UPDATE"),
        migrations.RunSQL(KEEP, FORGET),
        roles(),
        guarded("endpoints_workspace", "id = {workspace}"),
        *(guarded(f"endpoints_{table}") for table in OF_A_WORKSPACE),
        guarded("endpoints_auditentry", rights="SELECT, INSERT"),
        guarded("endpoints_staffbinding", rights="SELECT"),
        # What the admin's own pages need for staff who are bound to workspaces.
        ones_own("auth_user", "id"),
        ones_own("django_admin_log", "user_id", rights="SELECT, INSERT"),
        shared("django_content_type"),
    ]
