"""What must hold, whatever is sent, and a count of what was answered."""

import re
from collections import Counter
from collections.abc import Mapping

import psutil

from chaos.service import Service
from fuzz.wire import Answer

DEAREST = 50  # times an ordinary request of the same door, in CPU and in time
# Bytes that the web process may have more in the end: caches fill, threads begin, and frames of up to a megabyte leave
# holes. One case in a hundred that kept its megabyte would be found.
GROWTH = 160 << 20
FAILED = {"1011", "overdue"}  # a websocket's way to say 500; no answer where one is owed
# A traceback, an alarm, or a line that is none of ours: what a stranger wrote began it.
_FAULTY = re.compile(r"^(?!\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:INFO|WARNING) |$).*", re.M)


class Judge:
    def __init__(self, service: Service, secrets: Mapping[str, str]) -> None:
        self._service = service
        self._secrets = {name: value.encode() for name, value in secrets.items()}
        self._read = 0
        self.web = service.processes("web")[0]
        self.counts: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def fault(self, case: str, what: str) -> None:
        self.faults.append(f"{case}: {what}")

    def answer(self, case: str, answer: Answer, *, may_show: Mapping[str, str]) -> None:
        """Judge one answer; the name of its case begins with its door."""
        self.counts[case.partition(" ")[0], answer.status] += 1
        if answer.status in FAILED or re.fullmatch(r"5\d\d", answer.status) and answer.status != "503":
            self.fault(case, f"answered {answer.status}: {answer.text[-300:]!r}")
        for name in self._shown(answer.text):
            if name not in may_show:
                self.fault(case, f"shows the {name}")

    def _shown(self, text: bytes) -> list[str]:
        return [name for name, value in self._secrets.items() if value in text]

    def log(self, case: str) -> None:
        """Judge what the service has logged since it was asked last."""
        with self._service.log.open("rb") as log:
            log.seek(self._read)
            written = log.read()
        self._read += len(written)
        if found := _FAULTY.search(text := written.decode(errors="replace")):
            self.fault(case, f"logged {text[found.start() : found.start() + 4_000]}")
        for name in self._shown(written):
            self.fault(case, f"logged the {name}")

    def life(self, case: str) -> None:
        if [process.pid for process in self._service.processes("web")] != [self.web.pid] or not self.web.is_running():
            self.fault(case, "the web process is another one")

    def memory(self, before: int) -> None:
        grown = self.rss() - before
        if grown > GROWTH:
            self.fault("memory", f"the web process has {grown >> 20} MiB more than before")

    def rss(self) -> int:
        try:
            return int(self.web.memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def line(self, door: str) -> str:
        """Say how many cases of a door were answered how."""
        mine = sorted((status, count) for (name, status), count in self.counts.items() if name == door)
        told = ", ".join(f"{count} x {status}" for status, count in mine)
        return f"{door}: {sum(count for _, count in mine)} = {told}; RSS {self.rss() >> 20} MiB"
