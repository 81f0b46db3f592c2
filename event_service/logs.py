"""What the log leaves out."""

import logging
import re

# PostgreSQL quotes rows and keys in the details of its errors: what was to be stored, sealed secrets, digests.
_DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:HINT|CONTEXT|Traceback|The above exception|During handling)|\Z)", re.M | re.S)


class Discreet(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _DETAIL.sub("DETAIL:  (not logged)\n", super().format(record)).rstrip("\n")
