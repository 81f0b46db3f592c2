"""What the log leaves out, and how a line stays one."""

import logging
import re

# PostgreSQL quotes rows and keys in the details of its errors: what was to be stored, sealed secrets, digests.
_DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:HINT|CONTEXT|Traceback|The above exception|During handling)|\Z)", re.M | re.S)


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
        return True


class Discreet(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return _cut(super().formatMessage(record)).translate(_CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        return _cut(super().format(record))


def _cut(text: str) -> str:
    return _DETAIL.sub("DETAIL:  (not logged)\n", text).rstrip("\n")
