"""What data looks like: the types of its values in their places, such as {"customer": {"country": "string"}}.

No value is kept but the names of members. Types that were seen in one place stand together, "null|string"; an array
is a list with what its elements have in common. Where a place holds objects or arrays and something else, their inside
is left out, but for null, which is left out itself.
"""

from itertools import islice
from typing import Any

MAX_LEVELS = 10
MAX_MEMBERS = 100  # of an object
MAX_ELEMENTS = 20  # that are looked at, of an array
MAX_NODES = 1_000  # of a shape; and values that are looked at, of a sample
NAME_LENGTH = 200
_WORDS = {str: "string", bool: "boolean", int: "number", float: "number", dict: "object", list: "array"}


def infer(value: Any) -> Any:
    """Return the shape of `value`, as far as the limits go."""
    return _Look().at(value, MAX_LEVELS)


def merged(known: Any, new: Any) -> Any:
    """Return the shape that covers both; `known` where that is too large."""
    shape = _union(known, new)
    return shape if _size(shape) <= MAX_NODES else known


class _Look:
    def __init__(self) -> None:
        self._left = MAX_NODES

    def at(self, value: Any, levels: int) -> Any:
        self._left -= 1
        if levels and self._left > 0 and isinstance(value, dict):
            members = islice(value.items(), MAX_MEMBERS)
            return {name[:NAME_LENGTH]: self.at(member, levels - 1) for name, member in members if self._left > 0}
        if levels and self._left > 0 and isinstance(value, list):
            return self._elements(value, levels)
        return _WORDS.get(type(value), "null")

    def _elements(self, values: list[Any], levels: int) -> list[Any]:
        shapes: list[Any] = []
        for value in islice(values, MAX_ELEMENTS):
            if self._left > 0:
                shape = self.at(value, levels - 1)
                shapes = [_union(shapes[0], shape) if shapes else shape]
        return shapes


def _union(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        names = islice({**one, **other}, MAX_MEMBERS)
        return {
            name: _union(one[name], other[name]) if name in one and name in other else one.get(name, other.get(name))
            for name in names
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_union(one[0], other[0])] if one and other else one or other
    if "null" in (one, other) and not (isinstance(one, str) and isinstance(other, str)):
        return other if one == "null" else one
    return "|".join(sorted(_words(one) | _words(other)))


def _words(shape: Any) -> set[str]:
    return set(shape.split("|")) if isinstance(shape, str) else {_WORDS[type(shape)]}


def _size(shape: Any) -> int:
    inner = shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ()
    return 1 + sum(map(_size, inner))
