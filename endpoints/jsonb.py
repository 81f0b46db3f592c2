"""JSON as a column of PostgreSQL's jsonb gives it back."""

import json
from decimal import Decimal
from typing import Any


def as_stored(document: Any) -> Any:
    """Return the document as it is read later: without exponents (PostgreSQL, 8.14), so that 1e23 is an integer.

    That may be another number to Python, or longer than it was.
    """
    return json.loads(json.dumps(document), parse_float=_without_exponent)


def _without_exponent(number: str) -> Any:
    return json.loads(format(Decimal(number), "f"))
