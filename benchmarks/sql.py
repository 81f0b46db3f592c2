"""Which statements PostgreSQL was sent, from its log: the embedded server has no pg_stat_statements.

Every execution counts, BEGIN and COMMIT too; what triggers and functions do inside of a statement does not. Writing the
log takes time, so what is counted here is not timed elsewhere. Each process names itself by PGAPPNAME, see service.py.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from django.db import connection

from event_service.postgres.embedded.server import embedded_server

SETTINGS = {"log_min_duration_statement": "0", "log_parameter_max_length": "0", "log_line_prefix": "'@%a@'"}
# A statement of the extended protocol has a line for being parsed, bound and executed each.
_ENTRY = re.compile(
    r"^@(?P<kind>[^@\n]*)@LOG:  duration: (?P<ms>[\d.]+) ms  (?P<step>parse|bind|execute|statement)[^:\n]*: "
    r"(?P<text>.*(?:\n\t.*)*)",
    re.MULTILINE,
)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
_IN_LIST = re.compile(r"\((?:\s*(?:\?|\$\d+)\s*,?)+\)")


class Statement(NamedTuple):
    kind: str  # of process
    text: str


class Sent:
    """How often each statement was executed, and the milliseconds that all its steps took."""

    def __init__(self) -> None:
        self.calls: Counter[Statement] = Counter()
        self.ms: Counter[Statement] = Counter()

    def of(self, *kinds: str) -> int:
        return sum(calls for statement, calls in self.calls.items() if not kinds or statement.kind in kinds)

    def read(self, log: str) -> None:
        for entry in _ENTRY.finditer(log):
            statement = Statement(entry["kind"], _alike(entry["text"]))
            self.ms[statement] += float(entry["ms"])
            self.calls[statement] += entry["step"] in ("execute", "statement")


def _alike(text: str) -> str:
    """Statements that differ in their values are one."""
    return _IN_LIST.sub("(...)", _LITERAL.sub("?", " ".join(text.split())))


@contextmanager
def listening(*, but: str = "benchmark") -> Iterator[Sent]:
    """What is sent meanwhile is in what this yields, once it is over; but not what a kind of process sent."""
    sent, log = Sent(), embedded_server().data.with_name("postgres.log")
    start = log.stat().st_size
    _set(SETTINGS)
    try:
        yield sent
    finally:
        _set(dict.fromkeys(SETTINGS, "DEFAULT"))
        sent.read(_since(log, start))
        for statement in [each for each in sent.calls if each.kind == but]:
            del sent.calls[statement], sent.ms[statement]


def _set(settings: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
        cursor.execute("SELECT pg_reload_conf()")


def _since(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode(errors="replace")
