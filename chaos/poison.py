"""Events that break parsers, and a delivery that ends every worker that touches it: the others go on."""

from pathlib import Path

import requests

from chaos.database import wait_for
from chaos.figures import figure
from chaos.publisher import Producer, new_event
from chaos.scene import scene
from chaos.service import Service
from chaos.world import FAN_OUT

CRASHES = 5
NORMAL = 100
_DEEP = b"[" * 100_000 + b"]" * 100_000
BODIES = [
    b'{"type": "order.paid", "data": {"a": "\\u0000"}}',
    b'{"type": "order.paid", "data": "\\ud800"}',
    b'{"type": "order.paid", "data": NaN}',
    b'{"type": "order.paid", "data": 1e400000}',
    b'{"type": "order.paid", "data": ' + _DEEP + b"}",
    _DEEP,
    b'{"type": "order.paid", "data": "\xff\xfe"}',
    b"",
    b'\xef\xbb\xbf{"type": "order.paid"}',
    b'{"type": "order.paid", "data": "' + b"x" * (256 * 1024) + b'"}',
    b'{"type": "' + b"x" * 300 + b'"}',
    b'{"type": "\\u0000"}',
    b"[" + b",".join([b'{"type": "order.paid", "data": NaN}'] * 1000) + b"]",
]


def run(folder: Path, _: float = 0) -> None:
    with scene(folder, workers=1) as here:
        ((workspace_id, key),) = here.world.workspaces.items()
        producer, session = here.producer(), requests.Session()
        _refuse(here.service, key)
        _crash(here.service, producer, workspace_id, key)
        for n in range(NORMAL):
            producer.publish(session, workspace_id, key, [new_event(workspace_id, f"normal-{n}")])
        wait_for("everything to be final", here.service.is_final)
        found = here.account()
        figure("normal events delivered afterwards", found.received, NORMAL * FAN_OUT)
        figure("lost, besides the event that ends workers", found.lost - FAN_OUT, 0)


def _refuse(service: Service, key: str) -> None:
    running = {process.pid for process in service.everything()}
    headers = {"Authorization": f"Bearer {key}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{service.port}/event-service/events"
    statuses = [requests.post(url, body, headers=headers, timeout=30).status_code for body in BODIES]
    figure("answers to poison that are not 400", [status for status in statuses if status != 400], [])
    ((stored,),) = service.ask("SELECT count(*) FROM routing_event")
    figure("events stored of it", stored, 0)
    ours = {process.pid for process in service.processes("web", "deliver")}
    figure("processes that ended of it", len(ours - running), 0)


def _crash(service: Service, producer: Producer, workspace_id: str, key: str) -> None:
    """Every worker that claims it dies, until it is given up: at first with others, in the end alone."""
    service.arm("K4")
    producer.publish(requests.Session(), workspace_id, key, [new_event(workspace_id, "deadly")])
    while not service.is_final():
        wait_for("a crash", lambda: not service.is_armed("K4") or service.is_final())
        if service.is_final():
            break
        service.arm("K4")
        service.end_leases()
    (service.failpoints / "K4").unlink(missing_ok=True)
    ((crashes,),) = service.ask("SELECT max(attempts_made) FROM routing_delivery")
    figure("crashes until a delivery that ends workers is given up", crashes, CRASHES)
    ends = service.ask("SELECT DISTINCT state, reason FROM routing_delivery")
    figure("its end", ends, [("EXHAUSTED", "WORKER_LOST")])
