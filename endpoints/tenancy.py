"""Behind every filter: PostgreSQL shows and takes the rows of the workspaces that a transaction is about, no others.

What is done for somebody's key runs as a role that owns nothing and for which every table has a policy. The role and
the workspace are set until the transaction ends (SET LOCAL), so nothing of them is left on a connection. Nothing set:
no rows. So does the admin, for staff who are bound to workspaces. Everything else (workers, the supervisor, commands,
migrations, the admin of who sees every workspace, looking keys up) is about everybody, and runs as who is connected,
the tables' owner, whom policies do not concern.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.core.checks import CheckMessage, Error
from django.db import DatabaseError, connection, transaction
from django.db.migrations import RunSQL
from psycopg.pq import TransactionStatus

P = ParamSpec("P")
T = TypeVar("T")

TENANT = "event_service_tenant"  # one workspace; its policies compare with a value, which the planner knows well
TENANTS = "event_service_tenants"  # several at once: those of a group commit; or one, for many rows
WORKSPACE, WORKSPACES = "event_service.workspace", "event_service.workspaces"
OPERATOR = "event_service.operator"  # a member of staff who is bound to these workspaces

# For plans (see routing/plans.py): be about these workspaces, separated by commas ...
BE_ABOUT = f"SELECT set_config('role', '{TENANTS}', true), set_config('{WORKSPACES}', %s, true)"
# ... about one of them for a while ...
NARROW = (
    f"SELECT set_config('{WORKSPACES}_before', current_setting('{WORKSPACES}', true), true), "
    f"set_config('{WORKSPACES}', %s, true)"
)
# ... and about all of them again.
WIDEN = f"SELECT set_config('{WORKSPACES}', current_setting('{WORKSPACES}_before', true), true)"


def within(workspace_id: UUID, settings: Mapping[str, str] | None = None) -> AbstractContextManager[None]:
    """Run a transaction in which no row of another workspace can be read, written or referred to.

    Other settings of PostgreSQL go with it.
    """
    return transaction_with({**(settings or {}), WORKSPACE: str(workspace_id), "role": TENANT})


def within_for_many(workspace_id: UUID, settings: Mapping[str, str] | None = None) -> AbstractContextManager[None]:
    """Do as `within`, for statements that go through hundreds of rows and are planned the same for every workspace.

    Each statement looks up once, and not for each row, which workspace it is about: a sixth of what reading takes. The
    planner does not know it then.
    """
    return transaction_with({**(settings or {}), WORKSPACES: str(workspace_id), "role": TENANTS})


def staff(user_id: int, workspace_ids: Iterable[UUID]) -> dict[str, str]:
    """Return the settings of a transaction in which a member of staff sees these workspaces, and of people oneself."""
    return {OPERATOR: str(user_id), WORKSPACES: ",".join(map(str, workspace_ids)), "role": TENANTS}


def beyond() -> AbstractContextManager[None]:
    """Run a part of a transaction about everybody, whatever the rest of it is about."""
    return transaction_with({"role": "none"})


def inside(
    workspace_id: UUID,
    work: Callable[P, T],
    settings: Mapping[str, str] | None = None,
    *,
    by: Callable[[UUID, Mapping[str, str] | None], AbstractContextManager[None]] = within,
) -> Callable[P, T]:
    """Return `work` as something that is done within the workspace, and with other settings of PostgreSQL."""

    @wraps(work)
    def done(*args: P.args, **kwargs: P.kwargs) -> T:
        with by(workspace_id, settings):
            return work(*args, **kwargs)

    return done


@contextmanager
def transaction_with(settings: Mapping[str, str]) -> Iterator[None]:
    """Run a transaction with these settings of PostgreSQL, or a part of one that is open."""
    nested = connection.in_atomic_block
    with transaction.atomic():
        before = _set(settings)
        yield
        if connection.connection.info.transaction_status == TransactionStatus.INERROR:
            raise DatabaseError("A statement failed, and what came before it in this transaction with it.")
    if nested:  # released, a savepoint leaves its settings to the transaction around it; rolled back, it does not
        _set(before)


def _set(settings: Mapping[str, str]) -> dict[str, str]:
    """Set them until the transaction ends, and return what they were."""
    columns = ", ".join(["current_setting(%s, true)"] * len(settings) + ["set_config(%s, %s, true)"] * len(settings))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns}", [*settings, *(part for pair in settings.items() for part in pair)])
        found = cursor.fetchone()
    return {name: value or "" for name, value in zip(settings, found[: len(settings)], strict=True)}


def roles() -> RunSQL:
    """Return the migration that makes the roles, or takes them as the database's administrator has made them."""
    return RunSQL([_ROLE.format(role=role) for role in (TENANT, TENANTS)], RunSQL.noop)


def guarded(
    table: str, condition: str = "workspace_id = {workspace}", *, rights: str = "SELECT, INSERT, UPDATE, DELETE"
) -> RunSQL:
    """Return the migration that lets the roles reach those rows of `table` for which `condition` holds.

    In it {workspace} stands for the workspace, or any of those, that the transaction is about. What a condition reads
    in another table is under that one's own policy.
    """
    return RunSQL(
        _GUARD.format(
            table=table,
            rights=rights,
            one=condition.format(workspace=f"nullif(current_setting('{WORKSPACE}', true), '')::uuid"),
            any=condition.format(
                # A query of its own, so that the list is taken apart once for a statement and not for each row.
                workspace=f"ANY ((SELECT string_to_array(current_setting('{WORKSPACES}', true), ',')::uuid[])::uuid[])"
            ),
        ),
        f"DROP POLICY one_workspace ON {table}; DROP POLICY any_workspace ON {table}; "
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; REVOKE ALL ON {table} FROM {TENANT}, {TENANTS}",
    )


def shared(table: str) -> RunSQL:
    """Return the migration that lets staff who are bound to workspaces read all of `table`."""
    return RunSQL(f"GRANT SELECT ON {table} TO {TENANTS}", f"REVOKE ALL ON {table} FROM {TENANTS}")


def ones_own(table: str, column: str, *, rights: str = "SELECT") -> RunSQL:
    """Return the migration that lets staff who are bound to workspaces reach their own rows, by the user's id."""
    return RunSQL(
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; GRANT {rights} ON {table} TO {TENANTS}; "
        f"CREATE POLICY ones_own ON {table} TO {TENANTS} "
        f"USING ({column} = nullif(current_setting('{OPERATOR}', true), '')::int)",
        f"DROP POLICY ones_own ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; "
        f"REVOKE ALL ON {table} FROM {TENANTS}",
    )


def check_roles(*, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say whether transactions can take the roles, and whether we, without them, see everything."""
    if not databases:
        return []
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT row_security_active('endpoints_endpoint')")
            hidden = cursor.fetchone()[0]
            for role in (TENANT, TENANTS):
                cursor.execute("SELECT set_config('role', %s, true)", [role])
            transaction.set_rollback(True)
    except DatabaseError as error:
        return [] if _is_unready(error) else [Error(f"{str(error).splitlines()[0]}.", hint=_HINT, id="endpoints.E003")]
    if hidden:
        message = "The user of the database does not own the tables, and so sees no rows."
        return [Error(message, hint="Connect as the user who ran the migrations.", id="endpoints.E004")]
    return []


def _is_unready(error: DatabaseError) -> bool:
    """Tell whether there is no database to ask yet, or no tables in it."""
    code = getattr(error.__cause__, "sqlstate", None)
    return code is None or code == "42P01"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_HINT = (
    f"As the database's administrator: CREATE ROLE {TENANT}; CREATE ROLE {TENANTS}; "
    f"GRANT {TENANT}, {TENANTS} TO the user of DATABASE_URL."
)
# Roles are the server's, not the database's: another installation on it may have made them, or be about to.
_ROLE = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{{role}}') THEN
        BEGIN
            CREATE ROLE {{role}} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    BEGIN
        PERFORM set_config('role', '{{role}}', true), set_config('role', 'none', true);
    EXCEPTION WHEN insufficient_privilege THEN
        GRANT {{role}} TO CURRENT_USER;
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO {{role}}', current_schema());
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION '%', SQLERRM USING ERRCODE = SQLSTATE, HINT = {_quoted(_HINT)};
END $$
"""
_GUARD = f"""
ALTER TABLE {{table}} ENABLE ROW LEVEL SECURITY;
GRANT {{rights}} ON {{table}} TO {TENANT}, {TENANTS};
CREATE POLICY one_workspace ON {{table}} TO {TENANT} USING ({{one}});
CREATE POLICY any_workspace ON {{table}} TO {TENANTS} USING ({{any}})
"""
