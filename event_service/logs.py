"""What the log leaves out, and how a line stays one."""

import json
import logging
import re
from datetime import UTC, datetime

from django.contrib.auth import get_user_model
from django.http import HttpRequest

from endpoints.about import ids

# PostgreSQL quotes rows and keys in the details of its errors: what was to be stored, sealed secrets, digests.
_DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:HINT|CONTEXT|Traceback|The above exception|During handling)|\Z)", re.M | re.S)


_REFUSAL = "refusal"  # of a request

# What strangers write into a message must not begin a line of its own, or steer a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class Refusals(logging.Filter):
    """Of a request that was refused one line is told: it is the client that was wrong, and nothing broke here."""

    def filter(self, record: logging.LogRecord) -> bool:
        if 400 <= getattr(record, "status_code", 500) < 500:
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            if refusal := getattr(getattr(record, "request", None), _REFUSAL, ""):
                record.msg, record.args = f"{record.getMessage()} ({refusal})", ()
        return True


def name_refusal(request: HttpRequest, code: str, key: str) -> None:
    """Let the line that tells of the refused request say why, and whose it was: `key` is what people may see of it."""
    setattr(request, _REFUSAL, f"{code}, key {key}..." if key else code)


class SignIns(logging.Filter):
    """Of axes, who signed in or failed to: not each look into its own tables."""

    def filter(self, record: logging.LogRecord) -> bool:
        looks = ("AXES: Cleaned up", "AXES: Reset", "AXES: Deleted", "AXES: User login failed, running")
        return not str(record.msg).startswith(looks)


def who_signs_in(username: str | None, address: str, _agent: str, path: str, _request: HttpRequest) -> str:
    """Return whom a line of axes is about. What is nobody's name may be a password that was typed a field too early."""
    known = get_user_model().objects.filter(username=username).exists()
    return f"{repr(username) if known else 'a name that nobody has'}, from {address}, at {path}"


class Discreet(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return _cut(super().formatMessage(record)).translate(_CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        return _cut(super().format(record))


class Structured(Discreet):
    """A JSON object a line: when, how grave, who says it and what, the ids that it is about, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(record.getMessage()),
            **ids(),
        }
        if record.exc_info:
            told["exception"] = _cut(self.formatException(record.exc_info))
        return json.dumps(told, default=str)


def _cut(text: str) -> str:
    return _DETAIL.sub("DETAIL:  (not logged)\n", text).rstrip("\n")
