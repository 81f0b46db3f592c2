"""What is common to the refusals of patterns: they name the path, what was found there and what is allowed."""

import json
import math
import re
from typing import Any

from django.utils.translation import gettext as _

from endpoints.errors import BadInput

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL and half of a surrogate pair, which PostgreSQL's jsonb refuses


def refusal(path: str, found: str, allowed: str) -> BadInput:
    said = _("%(path)s %(found)s; %(allowed)s.")
    return BadInput(said % {"path": path, "found": found, "allowed": allowed}, path)


def is_(value: Any) -> str:
    return _("is %(given)s") % {"given": shown(value)}


def shown(value: Any) -> str:
    """Return `value` as it was written, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    except RecursionError:
        return "nested too deep"
    return text if len(text) <= 60 else f"{text[:60]}..."


def check_storable(path: str, value: str | float | None) -> None:
    """Raise BadInput for what the database can't hold, in a definition or in an event."""
    bad = _UNSTORABLE.search(value) if isinstance(value, str) else isinstance(value, float) and not math.isfinite(value)
    if bad:
        found = _("holds %(given)s, which can't be stored") % {"given": shown(value)}
        raise refusal(path, found, _("no event holds it either"))
