"""Websockets: frames a second beside a consumer that only sends; busy ones among a thousand that are idle; memory."""

import json
import socket
from collections.abc import Iterator
from statistics import quantiles

import requests

from benchmarks.costs import service_meter
from benchmarks.figures import Figure, Found, Target, at_least, at_most
from benchmarks.listeners import listeners
from benchmarks.load import load
from benchmarks.service import DATA, MANAGE, Web, clear, new_workspace, record_events, web_process
from endpoints.models import ApiKey, Endpoint, Scope

ROUNDS = 3
BARE = ("-m", "benchmarks.bare_sockets")
PROTOCOLS = ("plain", "event-service.v1")  # the latter acknowledges
FRAMES = {1: 20_000, 20: 2_000}  # for each socket, by how many sockets there are
RATE_TARGET = 0.6  # of what the bare consumer reaches
IDLE, BUSY = 1_000, 50
BUSY_RATE, BUSY_S = 10, 10  # events a second, each to every busy socket
P99_TARGET = 1.5  # times what it is without the idle
WARM_UP, UNREAD, UNREAD_SIZE = 100, 1_000, 200_000  # events, and bytes of each: 200 MB
MEMORY_TARGET_MIB = 4
BIG = json.dumps({"type": "big", "data": "x" * UNREAD_SIZE})
LIVE = '{"type": "order.paid", "data": {"sentAt":SENT_AT, "note": "%s"}}' % ("abcdefghij" * 64)


def run() -> Iterator[Found]:
    clear()
    yield from _rate()
    yield _idle()
    yield from _memory()


def _rate() -> Iterator[Found]:
    print(f"\nsockets: frames of {len(json.dumps(DATA))} bytes of data to clients in one process, one web process")
    for sockets, frames in FRAMES.items():
        endpoint, key = _endpoint()
        rounds = []
        with web_process(*BARE) as daphne, web_process(*BARE, "--ours") as ours, web_process(MANAGE, "web") as service:
            meters = [service_meter(web=[service.process]) for _ in PROTOCOLS]
            for _ in range(ROUNDS):
                addresses = (f"ws://127.0.0.1:{bare.port}/?frames={frames}" for bare in (daphne, ours))
                rates = [_frames_a_second(address, "", sockets, frames) for address in addresses]
                for acknowledges, meter in enumerate(meters):
                    # New ones: what was delivered and is owed again costs PostgreSQL its traces, too.
                    _owe(endpoint, frames)
                    url = _address(service, endpoint)
                    with meter:
                        rates.append(_frames_a_second(url, key, sockets, frames, acknowledges=bool(acknowledges)))
                rounds.append(rates)
        clients = f"{sockets} socket{'s' if sockets > 1 else ''}"
        yield _figure(f"{clients}, bare sends under our server", rounds, 0, 1)
        for column, protocol in enumerate(PROTOCOLS, 2):
            name = f"{clients}, {protocol}"
            yield _figure(f"{name}, beside bare sends under daphne", rounds, 0, column, at_least(RATE_TARGET))
            yield _figure(f"{name}, beside bare sends under ours", rounds, 1, column)
            yield meters[column - 2].cost(name, ROUNDS * sockets * frames, "frames")


def _figure(name: str, rounds: list[list[float]], baseline: int, column: int, *targets: Target) -> Figure:
    return Figure.of_rounds(name, "frames/s", [(each[baseline], each[column]) for each in rounds], targets)


def _endpoint() -> tuple[Endpoint, str]:
    workspace, _ = new_workspace()
    endpoint = Endpoint.create_web_socket(workspace_id=workspace.pk, name="benchmark")
    _, key = ApiKey.issue(workspace=workspace, name="sockets", scopes=[Scope.SUBSCRIBE, Scope.PUBLISH])
    return endpoint, key


def _owe(endpoint: Endpoint, events: int) -> None:
    for start in range(0, events, 1_000):
        record_events(endpoint.workspace, min(1_000, events - start))


def _address(web: Web, endpoint: Endpoint) -> str:
    return f"ws://127.0.0.1:{web.port}/event-service/ws?endpoint_id={endpoint.pk}"


def _frames_a_second(url: str, key: str, sockets: int, frames: int, *, acknowledges: bool = False) -> float:
    with listeners(url=url, key=key, sockets=sockets, frames=frames, acknowledges=acknowledges) as clients:
        return sockets * frames / clients.report()["seconds"]


def _idle() -> Figure:
    print(
        f"\nsockets: {BUSY} busy ones get {BUSY_RATE} events/s each, beside {IDLE:,} idle ones or none, one web process"
    )
    busy, key = _endpoint()
    idle, idle_key = _endpoint()
    with web_process(MANAGE, "web") as web:
        _busy(web, busy, key)  # warm-up
        alone = _busy(web, busy, key)
        url = _address(web, idle)
        with listeners(url=url, key=idle_key, sockets=IDLE, frames=0):
            among = _busy(web, busy, key)
    name = f"{BUSY} busy ones among {IDLE:,} idle, p99"
    return Figure.of_rounds(name, "ms", [(alone, among)], [at_most(P99_TARGET)])


def _busy(web: Web, endpoint: Endpoint, key: str) -> float:
    """Return the p99, in ms, from when an event is due at its producer until a socket has it."""
    frames = BUSY_RATE * BUSY_S
    with listeners(url=_address(web, endpoint), key=key, sockets=BUSY, frames=frames, acknowledges=True) as clients:
        load(port=web.port, key=key, connections=4, seconds=BUSY_S, rate=BUSY_RATE, bodies=[LIVE])
        return quantiles(clients.report()["latencies_ms"], n=100)[98]


def _memory() -> Iterator[Figure]:
    """Publish to an endpoint that one client reads, without and with another one that never reads."""
    megabytes = 2 * UNREAD * UNREAD_SIZE // 1_000_000
    print(f"\nsockets: {megabytes} MB published to a client that reads, one web process")
    for name, protocol in (("plain", ""), ("event-service.v1", "Sec-WebSocket-Protocol: event-service.v1\r\n")):
        endpoint, key = _endpoint()
        with web_process(MANAGE, "web") as web:
            url = _address(web, endpoint)
            with listeners(url=url, key=key, sockets=1, frames=2 * UNREAD + WARM_UP, acknowledges=True) as reading:
                _grown_mib(web, key, WARM_UP)
                alone = _grown_mib(web, key, UNREAD)
                with _never_reading(web, endpoint, key, protocol):
                    beside = _grown_mib(web, key, UNREAD)
                reading.report()
        targets = [at_most(MEMORY_TARGET_MIB, "more")]
        what = f"growth beside one that never reads, {name}"
        yield Figure(name=what, unit="MiB", measured=beside, baseline=alone, targets=tuple(targets))


def _never_reading(web: Web, endpoint: Endpoint, key: str, protocol: str) -> socket.socket:
    """Return a connection that asks for everything and reads nothing."""
    client = socket.create_connection(("127.0.0.1", web.port))
    client.sendall(
        f"GET /event-service/ws?endpoint_id={endpoint.pk}&after=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{protocol}Authorization: Bearer {key}\r\n\r\n".encode()
    )
    return client


def _grown_mib(web: Web, key: str, count: int) -> float:
    """Publish so many events one by one; return by how much the process has grown at most."""
    before = most = web.process.memory_info().rss
    with requests.Session() as session:
        for _ in range(count):
            session.post(
                f"http://127.0.0.1:{web.port}/event-service/events",
                data=BIG,
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                timeout=30,
            ).raise_for_status()
            most = max(most, web.process.memory_info().rss)
    return (most - before) / (1 << 20)
