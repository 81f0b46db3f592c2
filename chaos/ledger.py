"""Append-only files of JSON lines: what happened, as those outside the service saw it."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Ledger:
    """With `durable`, a line is on the disk when `write` returns. Safe to share between threads."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._durable = durable
        self._lock = threading.Lock()

    def write(self, *lines: dict[str, Any]) -> None:
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        with self._lock:
            os.write(self._file, data)
            if self._durable:
                os.fsync(self._file)


def read(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open() as lines:
            yield from map(json.loads, lines)
