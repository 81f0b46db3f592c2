"""The filter language: AWS EventBridge's event patterns over the event as its readers get it. See docs/filters.md.

A pattern names fields of the event, and under each what it may be:

    {"type": [{"prefix": "order."}], "data": {"total": [{"numeric": [">", 100]}], "customer": {"country": ["DE"]}}}

Inside a list any value will do; across fields all must match; objects nest; an array in the event matches when one of
its elements does. The published form {"in": {"eventTypes": [...], "cameraIds": [...]}} is a pattern in other words.

    parse.py        JSON -> alternatives: fields with conditions     (published.py, conditions.py)
    matching.py     alternatives -> a Pattern that matches events    (verdicts.py, intervals.py, wildcards.py)
    index.py        many patterns -> those that match an event
    explaining.py   JSON and an event -> why it matches, or does not
"""

from typing import Any

from endpoints.jsonb import as_stored
from endpoints.patterns.explaining import Check, Explanation, explain
from endpoints.patterns.index import Index
from endpoints.patterns.matching import Pattern
from endpoints.patterns.parse import (
    FIELDS,
    MAX_ALTERNATIVES,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_RANGES,
    MAX_SIZE,
    MAX_VALUES,
    MAX_WILDCARDS,
    alternatives_of,
)

__all__ = [
    "FIELDS",
    "MAX_ALTERNATIVES",
    "MAX_DEPTH",
    "MAX_FIELDS",
    "MAX_RANGES",
    "MAX_SIZE",
    "MAX_VALUES",
    "MAX_WILDCARDS",
    "Check",
    "Explanation",
    "Index",
    "Pattern",
    "check_definition",
    "explain",
    "parse_definition",
    "parse_pattern",
]


def parse_definition(definition: Any) -> Pattern:
    """Return what the filter that {"pattern": {...}} or {"in": {...}} describes wants.

    Raises BadInput with the path of what is wrong.
    """
    return Pattern(alternatives_of(definition))


def check_definition(definition: Any) -> Pattern:
    """Return what a filter wants that is to be kept. Raises BadInput, of what comes back from the database, too."""
    parse_definition(definition)
    return parse_definition(as_stored(definition))


def parse_pattern(pattern: Any) -> Pattern:
    """Return what `pattern` wants; {} is every event. Raises BadInput."""
    return parse_definition({"pattern": pattern})
