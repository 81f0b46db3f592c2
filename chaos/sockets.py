"""Websocket clients are cut off, their server is killed and its hints are lost, while events are published."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import requests

from chaos.database import wait_for
from chaos.faults import Faults
from chaos.figures import figure, say
from chaos.listener import Listener, make_endpoint
from chaos.publisher import new_event
from chaos.scene import Scene, scene
from chaos.watch import Watch

EVENTS = 10_000
CUTS = 100  # of one of the clients; the other keeps its connection as long as the server lets it
KILLS = 10
AT_ONCE = 20
LOST_EVERY_S = 1.0
_GOOD = """
SELECT count(*) FROM routing_delivery AS delivery
WHERE endpoint_id = %s::uuid
  AND 1 <> (SELECT count(*) FROM routing_attempt WHERE delivery_id = delivery.id AND error = '')
"""
_STATES = "SELECT state, count(*) FROM routing_delivery WHERE endpoint_id = %s::uuid GROUP BY state"


def run(folder: Path, _: float = 0) -> None:
    with scene(folder, web=2, workers=1) as here:
        listen_through(here, events=EVENTS, cuts=CUTS, kills=KILLS)


def listen_through(here: Scene, *, events: int, cuts: int, kills: int) -> None:
    ((workspace_id, key),) = here.world.workspaces.items()
    endpoint_id = make_endpoint(here.service.url, key)
    cut_at = random.sample(range(1, events), cuts)
    listeners = [
        Listener(urls=[here.service.url], key=key, endpoint_id=endpoint_id, cut_at=where) for where in (cut_at, [])
    ]
    for listener in listeners:
        listener.start()
    faults, producer, session, names = Faults(here.service), here.producer(), requests.Session(), []
    with Watch(here.service) as watch, _hints_lost(faults):
        for start in range(0, events, AT_ONCE):
            if start // AT_ONCE in _spread(kills, events // AT_ONCE):
                faults.do(random.choice([faults.kill_web, faults.kill_web, faults.kill_everything]))
            batch = [new_event(workspace_id, f"socket-{start + n}") for n in range(AT_ONCE)]
            names += [event["id"] for event in batch]
            producer.publish(session, workspace_id, key, batch)
        wait_for("the clients", lambda: all(len(listener.numbers) >= events for listener in listeners))
        wait_for(
            "the last acknowledgement", lambda: dict(here.service.ask(_STATES, endpoint_id)).keys() == {"DELIVERED"}
        )
    for listener in listeners:
        listener.end()
    say(f"  killed: {dict(faults.kills)}; hints lost {faults.others['hints dropped']} times")
    figure("times that a client was cut off", listeners[0].cuts, cuts)
    figure("kills", faults.kills.total(), kills)
    for name, listener in zip(("cut off again and again", "left alone"), listeners, strict=True):
        figure(
            f"numbers in order, none missing and none twice, {name}", listener.numbers == [*range(1, events + 1)], True
        )
        figure(f"events, {name}", sorted(listener.names) == sorted(names), True)
        figure(f"resets, {name}", listener.resets, [])
    figure("deliveries", dict(here.service.ask(_STATES, endpoint_id)), {"DELIVERED": events})
    figure("deliveries that were not acknowledged exactly once", here.service.ask(_GOOD, endpoint_id), [(0,)])
    figure("violations of conservation", watch.violations, 0)


def _spread(count: int, places: int) -> set[int]:
    return {place * places // (count + 1) for place in range(1, count + 1)}


@contextmanager
def _hints_lost(faults: Faults) -> Iterator[None]:
    """End the connections that listen, every second."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(LOST_EVERY_S):
            with suppress(psycopg.OperationalError):
                faults.do(faults.drop_listeners)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
