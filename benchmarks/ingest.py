"""Single events over HTTP, beside an application that does nothing: under daphne as it comes, and under our server."""

from statistics import median

from benchmarks.load import load
from benchmarks.service import EMPTY, EVENT, MANAGE, Web, clear, new_workspace, web_process

ROUNDS = 5
SECONDS = 3
CONNECTIONS = 16
TARGET = 0.9  # of what the empty application reaches under daphne


def run() -> None:
    print(f"\ningest: single events of {len(EVENT)} bytes, {CONNECTIONS} connections, one web process")
    clear()
    _, unheard = new_workspace()
    _, heard = new_workspace(webhooks=["http://127.0.0.1:9/"], paused=True)
    with (
        web_process(*EMPTY) as empty,
        web_process(*EMPTY, "--ours") as ours,
        web_process(MANAGE, "web") as service,
    ):
        measured = (empty, heard), (ours, heard), (service, unheard), (service, heard)
        for web, key in measured:
            _measure(web, key, seconds=1)  # warm-up
        rounds = [[_measure(web, key) for web, key in measured] for _ in range(ROUNDS)]
    ceilings, *_ = zip(*rounds, strict=True)
    _show("empty, under daphne", ceilings)
    for name, column in (("empty, under ours", 1), ("no endpoint", 2), ("a paused webhook", 3)):
        figures = [each[column] for each in rounds]
        ratio = median(each[column][0] / each[0][0] for each in rounds)
        _show(name, figures, f"ratio {ratio:.2f} (target >= {TARGET})")


def _measure(web: Web, key: str, seconds: float = SECONDS) -> tuple[float, float]:
    """Return events a second, and microseconds of the web process's CPU for each."""
    before = web.cpu_s()
    result = load(port=web.port, key=key, connections=CONNECTIONS, seconds=seconds, body=EVENT)
    return result["answers"] / seconds, (web.cpu_s() - before) * 1e6 / result["answers"]


def _show(name: str, figures: list[tuple[float, float]], ratio: str = "") -> None:
    rate, cpu = (median(column) for column in zip(*figures, strict=True))
    print(f"  {name:22} {rate:7,.0f} events/s  {cpu:5.0f} us of CPU each  {ratio}", flush=True)
