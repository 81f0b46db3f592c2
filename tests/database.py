"""The test database, for processes that a test starts."""

import os
from urllib.parse import quote

from django.conf import settings
from django.db import connection


def environment() -> dict[str, str]:
    """Return an environment in which the service's commands use the test database and may reach loopback."""
    found = connection.get_connection_params()
    host, port = quote(found.get("host", ""), safe=""), found.get("port", "")
    address = f"{host}:{port}" if port else host
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"postgres://{found.get('user', '')}@{address}/{found['dbname']}",
        "DATA_DIR": str(settings.DATA_DIR),
        "EVENT_SERVICE_EGRESS_ALLOW": "127.0.0.0/8",
    }
