"""Single events over HTTP, beside an application that does nothing: under daphne as it comes, and under our server."""

from collections.abc import Iterator

from benchmarks.costs import service_meter
from benchmarks.figures import Figure, Found, at_least
from benchmarks.load import load
from benchmarks.service import EMPTY, EVENT, MANAGE, Web, clear, new_workspace, web_process

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 16
TARGET = 0.9  # of what the empty application reaches under daphne


def run() -> Iterator[Found]:
    print(f"\ningest: single events of {len(EVENT)} bytes, {CONNECTIONS} connections, one web process")
    clear()
    _, unheard = new_workspace()
    _, heard = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    with (
        web_process(*EMPTY) as daphne,
        web_process(*EMPTY, "--ours") as ours,
        web_process(MANAGE, "web") as service,
    ):
        measured = (daphne, heard), (ours, heard), (service, unheard), (service, heard)
        meters = [service_meter(web=[web.process]) for web, _ in measured]
        for web, key in measured:
            _rate(web, key, seconds=1)  # warm-up
        rounds, counts = [], [0] * len(measured)
        for _ in range(ROUNDS):
            rates = []
            for column, (web, key) in enumerate(measured):
                with meters[column]:
                    rates.append(_rate(web, key))
                counts[column] += round(rates[-1] * SECONDS)
            rounds.append(rates)
    yield _figure("an empty application under our server", rounds, 0, 1)
    for column, name in ((2, "no endpoint"), (3, "a paused webhook")):
        yield _figure(f"{name}, beside empty daphne", rounds, 0, column, at_least(TARGET))
        yield _figure(f"{name}, beside empty and ours", rounds, 1, column)
        yield meters[column].cost(name, counts[column], "events")
    yield meters[0].cost("empty daphne", counts[0], "requests")


def _rate(web: Web, key: str, seconds: float = SECONDS) -> float:
    return load(port=web.port, key=key, connections=CONNECTIONS, seconds=seconds, body=EVENT)["answers"] / seconds


def _figure(name: str, rounds: list[list[float]], baseline: int, column: int, *targets) -> Figure:
    return Figure.of_rounds(name, "events/s", [(each[baseline], each[column]) for each in rounds], targets)
