"""Schemathesis, an independent client, asks the doors for what their schemas allow, and for what they don't."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.service import ROOT, Service

ST = ROOT / "var/schemathesis/bin/st"
METRICS_TOKEN = "for-prometheus"
DOORS = {
    # Our own check in graphql.py stands for those that are left out, to which an id that is not there is a fault.
    "graphql": (
        "schema.graphql",
        "/event-service/graphql",
        ["--phases=fuzzing", "--exclude-checks=not_a_server_error,positive_data_acceptance"],
    ),
    "openapi": ("openapi.json", "", []),
}


def tried(service: Service, door: str, examples: str) -> int:
    schema, path, options = DOORS[door]
    command = [
        *(ST, f"--config-file={Path(__file__).with_name(f'{door}.toml')}", "run", ROOT / "docs/reference" / schema),
        *(f"--url=http://127.0.0.1:{service.port}{path}", f"--max-examples={examples or 1}", *options),
        *([] if examples else ["--generation-deterministic"]),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": f"tests.schemathesis.{door}",
        "KEY": service.key,
        "METRICS_TOKEN": METRICS_TOKEN,
    }
    return subprocess.run(command, cwd=ST.parent, env=environment).returncode


def main(examples: str = "") -> int:
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Service(Path(folder), EVENT_SERVICE_METRICS_TOKEN=METRICS_TOKEN) as service,
    ):
        found = [tried(service, door, examples) for door in DOORS]
        assert "Traceback" not in service.log.read_text()
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
