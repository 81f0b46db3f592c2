"""Whether the service lives, and whether it can serve."""

import logging

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from event_service.answers import JsonLine
from routing import partitions

log = logging.getLogger(__name__)


@csrf_exempt  # which would answer 403 to what is no GET, and not 405
@require_safe
def healthz(_request: HttpRequest) -> JsonLine:
    return JsonLine({"live": True})


@csrf_exempt
@require_safe
def readyz(_request: HttpRequest) -> JsonLine:
    missing = _missing()
    return JsonLine({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _missing() -> list[str]:
    """Name what keeps the service from serving. What the database says goes to the log: it names hosts."""
    try:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        with connection.cursor() as cursor:
            cursor.execute(_FORGETFUL)
            switched_off = [name for (name,) in cursor.fetchall()]
        lacking = [] if plan else partitions.missing()
    except Error as error:
        log.warning("The database is unreachable: %s", error)
        return ["the database is unreachable"]
    return [
        *(f"attempts of {day} have no partition: a worker makes it, or manage.py prune" for day in lacking),
        *(f"migration {migration} is not applied" for migration, _backwards in plan),
        *(f"the database has {name} = off: a crash of its host would lose what was accepted" for name in switched_off),
    ]


# synchronous_commit is for each connection to choose: see settings.py.
_FORGETFUL = (
    "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name"
)
