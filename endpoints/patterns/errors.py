"""What is common to the refusals of patterns: they name the path, what was found there and what is allowed."""

import json
import math
import re
from typing import Any

from endpoints.errors import BadInput

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL and half of a surrogate pair, which PostgreSQL's jsonb refuses


def refusal(path: str, found: str, allowed: str) -> BadInput:
    return BadInput(f"{path} {found}; {allowed}.", path)


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
        raise refusal(path, f"holds {shown(value)}, which can't be stored", "no event holds it either")
