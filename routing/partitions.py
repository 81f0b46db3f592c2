"""The partitions of attempts: a day (UTC) of ids in each, made ahead, and dropped whole when they are old.

There is none that takes what fits no other. Without a partition for the day an attempt is refused, and whoever wants to
write it makes the day; until then readyz says so.
"""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.errors import CheckViolation, LockNotAvailable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

AHEAD_DAYS = 3  # for which there are partitions, should no worker run
WAIT = "1s"  # for a lock: who waits for one holds up those behind it
_LOCK = 0x64617973  # of the database: one process makes partitions at a time
_PREFIX = "routing_attempt_"


def name_of(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def _place_of(day: date) -> str:
    """Return the name with the schema of the table, which need not be the one that its connection makes tables in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'routing_attempt'::regclass")
        return f"{cursor.fetchone()[0]}.{name_of(day)}"


def days() -> list[date]:
    """Return the days that have a partition, or one that has left the table and was not dropped yet."""
    return sorted(_tables())


def _tables() -> dict[date, bool]:
    """Return by day whether its partition takes attempts."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        return {_day_of(name): attached for name, attached in cursor.fetchall()}


def missing(*, ahead: int = 0) -> list[date]:
    """Return the days from today on, by the database's clock, that have no partition."""
    today, tables = _today(), _tables()
    return [day for day in (today + timedelta(days=number) for number in range(ahead + 1)) if not tables.get(day)]


def older_than(kept_days: int, *, now: datetime | None = None) -> list[date]:
    """Return the days whose attempts all are older than that."""
    today = now.astimezone(UTC).date() if now else _today()
    return [day for day in days() if day < today - timedelta(days=kept_days)]


def _today() -> date:
    with connection.cursor() as cursor:
        cursor.execute("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
        today: date = cursor.fetchone()[0]
    return today


class NoPartition(OperationalError):
    """Attempts of this day can't be written yet: as with a database that does not answer, it is worth another try."""


def for_attempts(work: Callable[P, T]) -> Callable[P, T]:
    """Return `work`, one transaction that writes attempts, so that it makes the day where that has no partition.

    As after days without a worker, or where the database's clock was set ahead. What it raises then is NoPartition.
    """

    @wraps(work)
    def written(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except IntegrityError as error:
            if not _lacks_partition(error):
                raise
        logger.warning("Attempts of this day have no partition yet; it is made now")
        make_ahead()
        try:
            return work(*args, **kwargs)
        except IntegrityError as error:
            if not _lacks_partition(error):
                raise
            raise NoPartition("Attempts of this day have no partition, and it could not be made at once.") from error

    return written


def _lacks_partition(error: IntegrityError) -> bool:
    """Tell it from a check that failed, which is of a table that rows are in: a partition, or another one."""
    cause = error.__cause__
    return isinstance(cause, CheckViolation) and cause.diag.table_name == _PREFIX.removesuffix("_")


def make_ahead() -> int:
    """Make what is missing of today's and the next days' partitions. Return how many that were."""
    return _unless_busy(_make_ahead) if missing(ahead=AHEAD_DAYS) else 0


@transaction.atomic
def _make_ahead() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s)", [WAIT, _LOCK])
        lacking = missing(ahead=AHEAD_DAYS)
    for day in lacking:
        make(day)
    return len(lacking)


def make(day: date) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MAKE.format(name=_place_of(day), start=first_id(day), end=first_id(day + timedelta(days=1))))


def drop(day: date) -> bool:
    """Drop the day's partition outside of any transaction. Return whether it is gone: else it is for the next time.

    It leaves the table first, which holds up nobody, and then ends. What a process that died left halfway is ended by
    the next one, as its name says whose it is.
    """
    return bool(_unless_busy(partial(_drop, _place_of(day))))


def _drop(name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s), set_config('lock_timeout', %s, false)", [_LOCK, WAIT])
        mine = cursor.fetchone()[0]
        try:
            if not mine:  # another process is at it
                return 0
            cursor.execute(_STANDING, [name])
            if standing := cursor.fetchone():
                how = "FINALIZE" if standing[0] else "CONCURRENTLY"
                cursor.execute(f"ALTER TABLE routing_attempt DETACH PARTITION {name} {how}")
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
        finally:
            cursor.execute("SELECT set_config('lock_timeout', '0', false)")
            if mine:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    return 1


def after_migrate(**_: Any) -> None:
    """Receives post_migrate: a database that is new can take attempts at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_partitioned_table WHERE partrelid = to_regclass('routing_attempt')")
        there = cursor.fetchone() is not None
    if there:
        make_ahead()


def first_id(day: date) -> UUID:
    """Return the id before all UUIDv7s of that day."""
    return id_at(datetime.combine(day, time(), UTC))


def id_at(moment: datetime) -> UUID:
    """Return the id before all UUIDv7s of that millisecond."""
    return UUID(int=max(0, int(moment.timestamp() * 1_000)) << 80)


def _day_of(name: str) -> date:
    return datetime.strptime(name, f"{_PREFIX}%Y%m%d").replace(tzinfo=UTC).date()


def _unless_busy(work: Callable[[], int]) -> int:
    """Give up where a lock is not to be had in time: another look will come."""
    try:
        return work()
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        logger.warning("Partitions of attempts wait for the next look: %s", str(error).splitlines()[0])
        return 0


# By their names: one that has left the table and was not dropped yet is among them.
_TABLES = """
SELECT relname, coalesce(NOT inhdetachpending, false) FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE relkind = 'r' AND relname ~ '^routing_attempt_[0-9]{8}$'
  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('routing_attempt'))
"""
_STANDING = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = to_regclass(%s)"
# Made beside the table and then attached, which lets everybody read and write meanwhile. Nobody but the owner may reach
# it by its own name, around the policies of the table.
_MAKE = """
CREATE TABLE {name} (LIKE routing_attempt INCLUDING ALL);
ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
ALTER TABLE routing_attempt ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')
"""
