"""What says that there is no database to ask: it is away, or has given up this connection."""

import psycopg
from django.db import InterfaceError, InternalError, OperationalError
from psycopg import errors

# The last: a transaction that stood still for too long, or a server that only reads, such as the primary of before.
OUTAGE = (OperationalError, InterfaceError, InternalError)  # as Django raises them
DRIVERS_OUTAGE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.InFailedSqlTransaction,
    errors.ReadOnlySqlTransaction,
)


def is_outage(error: Exception) -> bool:
    """Tell it from what the database could not do of this work alone: Django's InternalError may be either."""
    if isinstance(error, InternalError):
        return isinstance(error.__cause__, DRIVERS_OUTAGE)
    return isinstance(error, OUTAGE)
