"""Patterns and events that are made to be slow to match, each within the limits of what is accepted."""

import json
import string
from collections.abc import Callable
from itertools import product
from typing import Any

_NAMES = ["".join(letters) for letters in product(string.ascii_lowercase, repeat=2)]


def _filled(element: Callable[[int], Any]) -> Callable[[int], list[Any]]:
    """Return how an array is made of as many elements as a number of bytes hold."""

    def array(size: int) -> list[Any]:
        elements: list[Any] = []
        left = size - len("[]")
        while (left := left - _size(element(len(elements)))) >= 0:
            elements.append(element(len(elements)))
        return elements

    return array


def _size(element: Any) -> int:
    return len(json.dumps(element, separators=(",", ":"))) + len(",")


def _nested(size: int) -> Any:
    data: Any = [1] * ((size - 200) // 2)
    for _ in range(98):
        data = [data]
    return data


def _ranges(number: int) -> dict[str, Any]:
    return {"numeric": [">", number + 0.1, "<", number + 0.9]}


_EITHER = {"$or": [{"a": ["!"]}, {"b": ["!"]}]}
_TEXTS = _filled(lambda number: f"{number:x}")
_OBJECTS = _filled(lambda number: {"x": number})

# What data is to be, and data as JSON of a size.
PAIRS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "asterisks and one letter": ([{"wildcard": "*a" * 100 + "*b*"}], lambda size: "a" * (size - 2)),
    "ten wildcards that all but match": (
        [{"wildcard": f"*{'a' * number}*b*a*"} for number in range(1, 11)],
        lambda size: "a" * (size - 2),
    ),
    "a wildcard that repeats what it looks for": (
        [{"wildcard": "*" + "ab" * 20 + "c*"}],
        lambda size: "ab" * (size // 2 - 1),
    ),
    "a wildcard and small texts": ([{"wildcard": "*a*b*g*"}], _TEXTS),
    "a long text and folded ends": (
        [{"suffix": {"equals-ignore-case": "Q"}}, {"equals-ignore-case": "ß"}],
        lambda size: "ß" * (size // 2 - 1),
    ),
    "beginnings of each other": ([{"prefix": "a" * number + "!"} for number in range(1, 201)], _TEXTS),
    "ranges and numbers": ([_ranges(number) for number in range(200)], _filled(lambda number: number)),
    "networks and what looks like addresses": (
        [{"cidr": f"11.0.{number}.0/24"} for number in range(200)],
        _filled(lambda number: f"1..{number}."),
    ),
    "a thousand values and ones": ([f"{number}!" for number in range(1_000)], lambda size: [1] * (size // 2 - 1)),
    "exclusions that all fail": (
        [{"anything-but": list(range(500))}] * 90,
        lambda size: [number % 500 for number in range(size // 4)],
    ),
    "deep arrays": (["!"], _nested),
    "empty arrays": ({"x": ["!"]}, lambda size: [[]] * (size // 3 - 1)),
    "empty objects": ({"x": [{"exists": False}], "y": ["!"]}, lambda size: [{}] * (size // 3 - 1)),
    "a hundred fields and none of them": (
        {name: [{"exists": False}] for name in _NAMES[:99]} | {"x": ["!"]},
        lambda size: [{}] * (size // 3 - 1),
    ),
    "a hundred alternatives, an object for each": (
        {"$or": [{name: ["!"]} for name in _NAMES[:100]]},
        _filled(lambda number: {_NAMES[number % 100]: 1}),
    ),
    "alternatives of one field": ({"$or": [{"x": [_ranges(number)]} for number in range(100)]}, _OBJECTS),
    "alternatives that hold in other elements": (
        {"$or": [{"x": [number], "y": [number]} for number in range(50)]},
        _filled(lambda number: {"x": number % 50} if number % 2 else {"y": number % 50}),
    ),
    "a thousand alternatives over ten arrays": (
        dict.fromkeys(_NAMES[:10], _EITHER),
        lambda size: {name: [{"a": 1}, {"b": 1}] * (size // 180) for name in _NAMES[:10]},
    ),
    "alternatives in depth": (
        {"x": {**_EITHER, "x": {**_EITHER, "x": {**_EITHER, "x": _EITHER}}}},
        lambda size: [{"a": "!", "x": [{"b": "!", "x": [{"a": "!", "x": []}] * 4}] * 4}] * (size // 370),
    ),
    "arrays in arrays": ({"x": ["!"], "y": ["!"]}, _filled(lambda number: [[{"x": [number]}]])),
}
