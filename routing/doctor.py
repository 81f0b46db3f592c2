"""Whether a deployment is as it should be: each check returns findings, each of which says what to do."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any, NamedTuple, Protocol

from django.conf import settings
from django.core import checks
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from routing import partitions, stats

ERROR, WARNING = "ERROR", "WARNING"
OLDEST_VERSION = 15
SKEW = {WARNING: timedelta(seconds=1), ERROR: timedelta(seconds=60)}
FREE_CONNECTIONS = 0.2
FREE_DISK = 0.1
MUCH_WAL = 4  # times max_wal_size
OF_HTTPS = ("security.W004", "security.W008", "security.W012", "security.W016")  # EVENT_SERVICE_HTTPS sets all these
LOCAL = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    what: str
    do: str


class Examination(NamedTuple):
    findings: list[Finding]  # errors first
    well: list[str]  # what was looked at besides, and is as it should be


def examine() -> Examination:
    """Look at everything; with no database to ask, at what can be told without one."""
    findings: list[Finding] = []
    well: list[str] = []
    try:
        for check in (*OF_SETTINGS, *OF_DATABASE):
            found = list(check())
            findings += found
            well += [] if found else [check.__name__.replace("_", " ")]
    except OperationalError as error:
        problem = str(error).strip().splitlines()[0]
        findings.append(
            Finding(ERROR, f"The database does not answer: {problem}", "Start it, or correct DATABASE_URL.")
        )
    return Examination(sorted(findings, key=lambda finding: finding.level != ERROR), well)


def django_checks() -> Iterable[Finding]:
    """What the framework and our own checks say: DEBUG, hosts, https, SECRET_KEY."""
    found = checks.run_checks(include_deployment_checks=True)
    of_https = [] if settings.HTTPS else [message.id for message in found if message.id in OF_HTTPS]
    yield from (_of_message(message) for message in found if message.id not in of_https)
    if of_https:
        what = f"Cookies and pages are made for plain http ({', '.join(of_https)}): right on one machine alone."
        yield Finding(WARNING, what, "Put a proxy that speaks TLS in front, and set EVENT_SERVICE_HTTPS=1.")


def database_checks() -> Iterable[Finding]:
    """Sealing keys, roles and row-level security: see endpoints/sealed.py and endpoints/tenancy.py."""
    yield from map(_of_message, checks.run_checks(tags=[checks.Tags.database], databases=["default"]))


def hosts() -> Iterable[Finding]:
    if "*" in settings.ALLOWED_HOSTS:
        yield Finding(ERROR, "ALLOWED_HOSTS lets every Host in.", "List the names that the service is reached by.")
    if settings.HOST not in ("127.0.0.1", "::1", "localhost") and not settings.HTTPS:
        what = f"The service listens on {settings.HOST} and speaks plain http there."
        yield Finding(WARNING, what, "Put a proxy that speaks TLS in front, and set EVENT_SERVICE_HTTPS=1.")


def secrets() -> Iterable[Finding]:
    """With a database of its own the service may run on several machines, which need the same secrets."""
    if _is_embedded():
        return
    generated = [
        (settings.DATA_DIR / "secret_key", [settings.SECRET_KEY], "SECRET_KEY"),
        (settings.DATA_DIR / "sealing_key", settings.SEALING_KEYS, "EVENT_SERVICE_SEALING_KEYS"),
    ]
    for file, used, variable in generated:
        if file.exists() and file.read_text() in used:
            do = f"Set {variable} to it on every machine, and keep a copy apart from the database."
            yield Finding(WARNING, f"{variable} was generated into {file}, for this machine alone.", do)


def egress(allowed: Iterable[Any] | None = None) -> Iterable[Finding]:
    for network in settings.EGRESS_ALLOW if allowed is None else allowed:
        if network.prefixlen == 0:
            do = "Name the networks of your receivers in EVENT_SERVICE_EGRESS_ALLOW, or none."
            yield Finding(ERROR, f"Webhooks reach every address there is ({network}), internal ones too.", do)
        elif any(network.version == local.version and network.overlaps(local) for local in map(ip_network, LOCAL)):
            do = "Take it out of EVENT_SERVICE_EGRESS_ALLOW; with script/server set that to nothing."
            yield Finding(WARNING, f"Webhooks reach this machine itself ({network}): right for trying things.", do)


def durability() -> Iterable[Finding]:
    names = ("fsync", "full_page_writes", "synchronous_commit", "TimeZone")
    found = dict(_rows("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)]))
    for name in names[:3]:
        if found[name] == "off":
            what = f"{name} is off: a crash of the database's host would lose what was accepted."
            yield Finding(ERROR, what, f"Set {name} = on in postgresql.conf, and reload.")
    if found["TimeZone"] != "UTC":
        what = f"Connections have the time zone {found['TimeZone']}."
        yield Finding(WARNING, what, "Take TimeZone out of DATABASE_URL's options: the service means UTC.")


def version() -> Iterable[Finding]:
    major = connection.cursor().connection.info.server_version // 10_000
    if major < OLDEST_VERSION:
        yield Finding(ERROR, f"PostgreSQL is version {major}.", f"Upgrade it to {OLDEST_VERSION} or newer.")


def connections() -> Iterable[Finding]:
    sql = "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = %s"
    ((used, most),) = _rows(sql, ["client backend"])
    if most - used < FREE_CONNECTIONS * most:
        what = f"{used} of the database's {most} connections are in use."
        do = "Start fewer processes" if _is_embedded() else "Raise max_connections"
        yield Finding(WARNING, what, f"{do}: each takes up to 16, and one to listen.")


def clock(now: datetime | None = None) -> Iterable[Finding]:
    asked_at = timezone.now()
    ((at,),) = _rows("SELECT clock_timestamp()")
    took = timezone.now() - asked_at
    skew = abs(at - (asked_at + took / 2 if now is None else now)) - took / 2
    for level in (ERROR, WARNING):
        if skew > SKEW[level]:
            what = f"This machine's clock and the database's are {skew.total_seconds():.1f} s apart."
            yield Finding(
                level, what, "Have both synchronised (chrony, systemd-timesyncd): receivers check timestamps."
            )
            return


def migrations() -> Iterable[Finding]:
    executor = MigrationExecutor(connection)
    pending = [str(migration) for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if pending:
        yield Finding(
            ERROR, f"{len(pending)} migrations are not applied, {pending[0]} first.", "Run: manage.py migrate"
        )


def partitions_ahead() -> Iterable[Finding]:
    lacking = partitions.missing(ahead=partitions.AHEAD_DAYS - 1)  # a worker may be about to make the last
    if lacking:
        what = f"Attempts of {', '.join(map(str, lacking))} have no partition: no worker made them ahead."
        level = ERROR if partitions.missing() else WARNING  # today's: what is sent now can't be written down
        yield Finding(level, what, "See why no worker does: its log says. Or: manage.py prune")


def row_security() -> Iterable[Finding]:
    for (table,) in _rows(_UNGUARDED):
        what = f"Row-level security is switched off on {table}: a fault would show rows of other workspaces."
        yield Finding(ERROR, what, f"As the tables' owner: ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;")


def workers() -> Iterable[Finding]:
    if stats.alive(stats.Whose()).workers == 0:
        do = "Start manage.py serve or deliver. If one runs, let this user see others' connections: pg_read_all_stats."
        yield Finding(ERROR, "No delivery worker is connected to the database.", do)


def disk() -> Iterable[Finding]:
    if not _is_embedded():
        return  # another machine's
    usage = shutil.disk_usage(settings.DATA_DIR)
    if usage.free < FREE_DISK * usage.total:
        what = f"{usage.free / usage.total:.0%} of the disk of {settings.DATA_DIR} are free."
        yield Finding(WARNING, what, "Make room: a full disk stops the database.")


def wal() -> Iterable[Finding]:
    for (slot,) in _rows("SELECT slot_name FROM pg_replication_slots WHERE NOT active"):
        do = f"Bring its reader back, or: SELECT pg_drop_replication_slot('{slot}');"
        yield Finding(WARNING, f"Nobody reads the replication slot {slot}, and WAL is kept for it.", do)
    ((visible,),) = _rows("SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE')")
    if visible:
        ((size, most),) = _rows(_WAL)
        if size > MUCH_WAL * most:
            do = "Look for an archive command that fails (pg_stat_archiver) or a slot that lags."
            yield Finding(WARNING, f"{size >> 20:,} MiB of WAL are kept, max_wal_size is {most >> 20:,} MiB.", do)


class Check(Protocol):
    __name__: str

    def __call__(self) -> Iterable[Finding]: ...


OF_SETTINGS: tuple[Check, ...] = (django_checks, hosts, secrets, egress)
# In this order: what comes later needs the tables of what comes first.
OF_DATABASE: tuple[Check, ...] = (version, durability, connections, clock, disk, wal, migrations, row_security)
OF_DATABASE += (database_checks, partitions_ahead, workers)


def _of_message(message: checks.CheckMessage) -> Finding:
    level = ERROR if message.level >= checks.ERROR else WARNING
    return Finding(level, f"{message.msg} ({message.id})", message.hint or "See docs/operations.md, In production.")


def _is_embedded() -> bool:
    return bool(settings.DATABASES["default"]["ENGINE"] == "event_service.postgres.embedded")


def _rows(sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters))
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


_UNGUARDED = """
SELECT DISTINCT relation.oid::regclass::text FROM pg_class AS relation
JOIN pg_policy AS policy ON policy.polrelid = relation.oid
WHERE NOT relation.relrowsecurity
  AND relation.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('routing_event')) ORDER BY 1
"""
_WAL = "SELECT coalesce(sum(size), 0)::bigint, pg_size_bytes(current_setting('max_wal_size')) FROM pg_ls_waldir()"
