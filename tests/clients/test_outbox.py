"""The outbox of the Python client in another Django project, which runs in a process and on a database of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from psycopg import sql

from tests.service import ROOT
from tests.web import Web, database_url

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "test_shop"


# On SQLite, what rests on locks and transactions; the rest is the same there.
OF_DATABASES = "fate or killed or two_at_once or on_the_wire"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop.sqlite3"
        return
    url = database_url().rpartition("/")[0]
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME))
    yield f"{url}/shop"
    with connection.cursor() as cursor:
        cursor.execute(drop)


def test_its_own_tests_pass(web: Web, key: str, database: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "EVENT_SERVICE_URL": f"http://127.0.0.1:{web.port}",
        "EVENT_SERVICE_KEY": key,
        "SHOP_DATABASE": database,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "shop"]
    command += ["-k", OF_DATABASES] if database.startswith("sqlite") else []
    run = subprocess.run(
        command, cwd=ROOT / "clients/python", env=environment, text=True, stdout=subprocess.PIPE, check=False
    )

    assert run.returncode == 0, run.stdout
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout
