"""The ceiling of delivery: threads that post the same body with `requests.Session.post`, again and again."""

import json
import sys
import threading
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from benchmarks.sink import Sink


class BareLoops:
    """`processes` loops, ready to start at once."""

    def __init__(self, *, processes: int, **what) -> None:
        command = [sys.executable, __file__, json.dumps(what)]
        self._processes = [Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(processes)]
        for process in self._processes:
            process.stdout.readline()

    def run(self) -> None:
        for process in self._processes:
            process.stdin.close()
        for process in self._processes:
            if process.wait(timeout=60) != 0:
                raise RuntimeError("A bare loop failed")


def bare_rate(sink: "Sink", urls: list[str], body: str, *, processes: int, threads: int, count: int) -> float:
    """Return how many requests a second so many loops have answered, while nothing else is done."""
    loops = BareLoops(processes=processes, threads=threads, urls=urls, body=body, count=count // processes)
    sink.clear()
    loops.run()
    report = sink.report()
    return report["count"] / (report["last_at"] - report["first_at"])


def _main(urls: list[str], body: str, threads: int, count: int) -> None:
    def post() -> None:
        session, left = requests.Session(), count // threads
        while left:
            for url in urls[:left]:
                answer = session.post(url, data=body, headers={"content-type": "application/json"}, timeout=15)
                answer.raise_for_status()
            left -= len(urls[:left])

    running = [threading.Thread(target=post) for _ in range(threads)]
    print("ready", flush=True)
    sys.stdin.read()
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


if __name__ == "__main__":
    _main(**json.loads(sys.argv[1]))
