"""A backup is taken under load and put back: what was settled in it is not sent again, what was open is.

By pg_dump into a new server, and by pg_basebackup, which is the same server set back: then with manage.py new_epoch.
"""

import os
import shutil
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from chaos import ledger
from chaos.database import wait_for
from chaos.figures import at_least, at_most, figure, say
from chaos.listener import Listener, make_endpoint
from chaos.publisher import Publisher
from chaos.receiver import Receiver
from chaos.service import Service
from event_service.postgres.embedded.place import choose_place

RATE = 30.0
EACH_S = 6  # before the backup, and after it
DELAY_S = 0.7  # of the receiver, longer than producers pause: something is on its way whenever the backup is taken
WITHIN_S = 20.0
ROLES = "CREATE ROLE event_service_tenant; CREATE ROLE event_service_tenants;"
KEPT = ("secret_key", "sealing_key")
_STATES = """
SELECT event.data::json->>'n', '/' || endpoint.workspace_id || '/' || endpoint.name, delivery.state
FROM routing_delivery AS delivery JOIN routing_event AS event ON event.id = delivery.event_id
JOIN endpoints_endpoint AS endpoint ON endpoint.id = delivery.endpoint_id WHERE endpoint.type = 'WEB_HOOK'
"""
_OPEN = "SELECT 1 FROM routing_delivery WHERE state IN ('PENDING', 'SENDING') AND due_at IS NOT NULL LIMIT 1"


@dataclass(frozen=True)
class Before:
    """The service of which backups were taken, and where they are: a file of SQL, a folder of PostgreSQL's data."""

    folder: Path
    service: Service
    socket: Listener
    dump: Path
    base: Path


def run(folder: Path, _: float = 0) -> None:
    receiver = Receiver(folder / "received")
    try:
        before = _back_up(folder, receiver)
        for name, restore in (("dump", _restore_dump), ("base backup", _restore_base)):
            after = Service(folder / name.replace(" ", "-"), web=1, workers=2, environment={})
            for kept in KEPT:
                shutil.copy(before.service.data_dir / kept, after.data_dir)
            try:
                restore(before, after)
                _judge(name, before, after)
            finally:
                after.kill_everything()
    finally:
        receiver.stop()


def _back_up(folder: Path, receiver: Receiver) -> Before:
    """Take both backups under load, then publish more, have all of it delivered, and end the service."""
    service = Service(folder / "data", web=1, workers=2, environment={})
    try:
        world = service.prepare(receiver.url, workspaces=2)
        receiver.tell(secrets=world.secrets, delay_s=DELAY_S)
        service.start()
        key = next(iter(world.workspaces.values()))
        socket = Listener(urls=[service.url], key=key, endpoint_id=make_endpoint(service.url, key))
        socket.start()
        publisher = Publisher(folder, urls=[service.url], keys=world.workspaces, rate=RATE)
        time.sleep(EACH_S)
        dump, base = _take(service, folder)
        time.sleep(EACH_S)
        publisher.finish()
        wait_for("everything to be final", service.is_final)
        socket.end()
        return Before(folder, service, socket, dump, base)
    finally:
        service.stop()


def _take(service: Service, folder: Path) -> tuple[Path, Path]:
    programs, dump, base = choose_place(service.data_dir).programs, folder / "dump.sql", folder / "base"
    reached = ["-h", str(service.data_dir / "postgres"), "-U", "postgres"]
    subprocess.run([programs / "pg_dump", *reached, "-f", dump, "event_service"], check=True)
    subprocess.run([programs / "pg_basebackup", *reached, "-c", "fast", "-D", base], check=True)
    return dump, base


def _restore_dump(before: Before, after: Service) -> None:
    """Into a new server, which knows nothing of the roles."""
    _held(after)
    after.ask(ROLES)
    psql = ["manage.py", "dbshell", "--", "--quiet", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", str(before.dump)]
    after.run(*psql)


def _restore_base(before: Before, after: Service) -> None:
    """The same server, set back: it does not know by itself."""
    owner = (before.service.data_dir / "postgres").stat()
    data = after.data_dir / "postgres"
    shutil.move(before.base, data)
    for path in (data, *data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    _held(after)
    after.run("manage.py", "new_epoch")


def _held(service: Service) -> None:
    """Have the server run though the service does not."""
    service.spawn("shell", "-c", "import time; from django.db import connection; connection.cursor(); time.sleep(600)")
    service.ask("SELECT 1")


def _judge(name: str, before: Before, after: Service) -> None:
    states = {(n, path): state for n, path, state in after.ask(_STATES)}
    unsettled = {sent for sent, state in states.items() if state in ("PENDING", "SENDING")}
    leased = sum(state == "SENDING" for state in states.values())
    had = _received(before.folder, until=time.time())
    after.end_leases()  # as they would have by themselves, were the backup older than a minute
    started_at, started = time.time(), time.monotonic()
    after.start()
    wait_for("what was open", lambda: not after.ask(_OPEN))
    took_s = time.monotonic() - started
    again = _received(before.folder, since=started_at)
    say(f"  {name}: {len(states)} deliveries, {len(unsettled)} of them open, {leased} leased; {len(had)} sent before")
    figure(f"{name}: open deliveries", len(unsettled), 1, at_least)
    figure(f"{name}: of these not sent after it was put back", len(unsettled - again.keys()), 0)
    figure(f"{name}: settled ones that were sent again", len(again.keys() - unsettled), 0)
    changed = sum(had[sent] != ids for sent, ids in again.items() if sent in had)
    figure(f"{name}: sent again with another webhook-id", changed, 0)
    figure(f"{name}: seconds until all was final", took_s, WITHIN_S, at_most)
    figure(f"{name}: times that a websocket client was told of the loss", len(_told(before.socket, after)), 1, at_least)


def _received(folder: Path, *, since: float = 0.0, until: float = float("inf")) -> dict[tuple[str, str], set[str]]:
    """Return the webhook-ids with which each event came to each path in that time."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in ledger.read(folder / "received"):
        if since <= line["at"] < until:
            found[line["n"], line["path"]].add(line["id"])
    return found


def _told(before: Listener, after: Service) -> list[str]:
    """Have the client come back with the cursor that it had, and return what it is told of a loss."""
    client = before.again([after.url])
    client.start()
    wait_for("the client to be told", lambda: client.resets)
    client.end()
    return client.resets
