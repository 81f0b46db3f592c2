"""Schemathesis, an independent client, asks GraphQL for all that its schema allows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from endpoints.models import ApiKey, Scope, Workspace
from tests.web import Web

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "")  # of each operation: script/schemathesis asks for more
ST = Path(sys.executable).with_name("st")


@pytest.mark.django_db(transaction=True)
def test_schemathesis_finds_nothing_in_graphql(web: Web, tmp_path: Path) -> None:
    workspace = Workspace.objects.create(name="Tried")
    key = ApiKey.issue(workspace=workspace, name="tries", scopes=Scope.values)[1]
    command = [
        *(
            ST,
            "run",
            ROOT / "docs/reference/schema.graphql",
            f"--url=http://127.0.0.1:{web.port}/event-service/graphql",
        ),
        *("--phases=fuzzing", f"--max-examples={EXAMPLES or 1}", f"--header=Authorization: Bearer {key}"),
        *("--exclude-checks=not_a_server_error", "--no-color"),  # see the hooks, whose check stands for it
        *([] if EXAMPLES else ["--generation-deterministic"]),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)

    assert told.returncode == 0, told.stdout
