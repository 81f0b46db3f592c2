"""The backend on the PostgreSQL that runs beside the service. How that one runs: see server.py."""

import sys
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.postgresql.client import DatabaseClient as PsqlClient
from psycopg.conninfo import make_conninfo

if sys.platform == "win32":
    raise ImproperlyConfigured("No PostgreSQL runs beside the service on Windows; set DATABASE_URL to one.")

from event_service.postgres import base
from event_service.postgres.embedded.server import embedded_server


def _conninfo() -> str:
    return make_conninfo(**embedded_server().serving())


class DatabaseClient(PsqlClient):
    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        server = embedded_server()
        where = {key.upper(): value for key, value in server.serving().items()}
        arguments, env = super().settings_to_cmd_args_env({**settings_dict, **where}, parameters)
        return [str(server.programs / cls.executable_name), *arguments[1:]], env


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        options = settings_dict["OPTIONS"]
        if pool := options.get("pool"):
            # The pool asks anew for each connection that it makes, and so starts a server that was killed.
            pool = {**({} if pool is True else pool), "conninfo": _conninfo}
            settings_dict = {**settings_dict, "OPTIONS": {**options, "pool": pool}}
        super().__init__(settings_dict, alias)

    @property
    def pool(self) -> Any:
        # Django comes here also outside its own wrapping, and making the pool may have to start the server.
        with self.wrap_database_errors:
            return super().pool

    def get_connection_params(self) -> dict[str, Any]:
        return super().get_connection_params() | embedded_server().serving()
