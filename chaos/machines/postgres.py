"""A PostgreSQL on a machine of its own, which the service reaches by DATABASE_URL."""

import signal
import subprocess
from pathlib import Path

from chaos.database import Database
from chaos.machines.network import NETWORK, Machine
from event_service.postgres.embedded.place import choose_place

LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
OPTIONS = {"max_connections": "200", "jit": "off", "log_min_messages": "fatal"}


class Postgres(Database):
    def __init__(self, machine: Machine, folder: Path) -> None:
        place = choose_place(folder)
        super().__init__(place.data)
        place.data.mkdir(mode=0o700)
        place.account.own(place.data)
        user = ["-S", str(place.account.uid), "-G", str(place.account.gid)]  # of nsenter: it is no friend of root
        self._on = [*machine.on, *user, "--"]
        self._initdb = [str(place.programs / "initdb"), "-D", str(place.data), "--username=postgres", "--auth=trust"]
        options = {**OPTIONS, "listen_addresses": machine.address, "unix_socket_directories": str(place.data)}
        self._command = [str(place.programs / "postgres"), "-D", str(place.data)]
        self._command += [f"--{name}={value}" for name, value in options.items()]
        self._log = folder / "postgres.log"
        self.url = f"postgres://postgres@{machine.address}:5432/event_service"

    def start(self) -> None:
        """Return when it answers."""
        subprocess.run([*self._on, *self._initdb, *LOCALE], check=True, stdout=subprocess.DEVNULL)
        with (self._sockets / "pg_hba.conf").open("a") as doors:
            doors.write(f"host all all {NETWORK} trust\n")
        with self._log.open("w") as log:
            self._process = subprocess.Popen([*self._on, *self._command], stdout=log, stderr=log)
        self.ask("CREATE DATABASE event_service", database="postgres")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # pg_ctl stop -m fast
        self._process.wait()
