"""K12: a migration is killed half way. The next one finishes it."""

import random
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from chaos.database import wait_for
from chaos.figures import figure, say
from chaos.points import TIMES
from chaos.service import Service
from chaos.world import ROOT

_STEPS = "SELECT count(*) FROM django_migrations"
_WHOLE = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"


def run(folder: Path, _: float = 0, *, times: int = TIMES) -> None:
    service = Service(folder / "data", web=1, workers=1, environment={})
    service.run("manage.py", "migrate", "--verbosity", "0")  # tells how much there is to do
    service.spawn("deliver")  # the database runs as long as somebody uses it
    try:
        ((whole,),), ((steps,),) = service.ask(_WHOLE), service.ask(_STEPS)  # which wait until it runs
        halves, unfinished = [], 0
        for _ in range(times):
            service.ask("DROP DATABASE IF EXISTS halfway WITH (FORCE)")
            service.ask("CREATE DATABASE halfway")
            halves.append(_kill_half_way(service, random.randrange(steps)))
            code = _migrate(service).wait()
            unfinished += code != 0 or _count(service, "halfway", _WHOLE) != whole
        say(f"  K12: {times} times, killed after {min(halves)} to {max(halves)} of {steps} steps")
        figure("K12: killed migrations that the next did not finish", unfinished, 0)
    finally:
        service.stop()


def _kill_half_way(service: Service, step: int) -> int:
    """Start to migrate, kill it a moment after so many steps, and return how many were done."""
    migrating = _migrate(service)
    wait_for("so many steps", lambda: _count(service, "halfway", _STEPS) >= step or migrating.poll() is not None)
    time.sleep(random.uniform(0, 0.1))
    migrating.kill()
    migrating.wait()
    return _count(service, "halfway", _STEPS)


def _migrate(service: Service) -> "subprocess.Popen[bytes]":
    place = quote(str(service.data_dir / "postgres"), safe="")
    environment = {**service.environment, "DATABASE_URL": f"postgres://postgres@{place}/halfway"}
    del environment["EVENT_SERVICE_FAILPOINTS"]
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    return subprocess.Popen(command, cwd=ROOT, env=environment)


def _count(service: Service, database: str, query: str) -> int:
    with suppress(psycopg.errors.UndefinedTable), closing(service.connect(database)) as connection:
        row = connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0
    return 0
