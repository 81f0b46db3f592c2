"""What stands in a list: values, and operators in objects of one member."""

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from endpoints.errors import BadInput
from endpoints.patterns.errors import check_storable, refusal, shown
from endpoints.patterns.wildcards import Wildcard, parts_of

FOLDED = "equals-ignore-case"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a value may be. `kind` says what `operand` is, so that true is never taken for 1.

    text, number, literal: the value; folded, prefix, suffix, folded prefix, folded suffix: a text; numeric and cidr:
    the two bounds of a range; wildcard; anything-but: conditions; exists and absent: nothing.
    """

    kind: str
    operand: Any = None


ABSENT = Condition("absent")
PRESENT = Condition("exists")
# What is not looked up by value.
RANGES = frozenset({"prefix", "suffix", "folded prefix", "folded suffix", "numeric", "cidr", "anything-but"})


def parse_condition(path: str, value: Any) -> Condition:
    """Return what one member of the list at `path` stands for. Raises BadInput."""
    if isinstance(value, dict):
        return _parse_operator(path, value)
    if isinstance(value, list):
        raise refusal(path, f"holds the list {shown(value)}", "lists do not nest: write its values one by one")
    check_storable(path, value)
    return _equals(value)


def _equals(value: str | float | None) -> Condition:
    if isinstance(value, str):
        return Condition("text", value)
    return Condition("literal" if value is None or isinstance(value, bool) else "number", value)


def _parse_operator(path: str, given: dict[str, Any]) -> Condition:
    if len(given) != 1:
        raise refusal(
            path, f"holds {shown(given)} with {len(given)} operators", "write one in each object: any of them will do"
        )
    ((name, operand),) = given.items()
    if name not in OPERATORS:
        raise refusal(path, f"holds the operator {shown(name)}", f"there are {', '.join(OPERATORS)}")
    return OPERATORS[name](path, operand)


def _text(path: str, operator: str, operand: Any, *, allowed: str = "a string") -> str:
    if not isinstance(operand, str):
        raise BadInput(f"{operator} in {path} is {shown(operand)}; write {allowed}.", path)
    check_storable(path, operand)
    return operand


def _equals_ignore_case(path: str, operand: Any) -> Condition:
    return Condition("folded", _text(path, FOLDED, operand).casefold())


def _end(kind: str) -> Callable[[str, Any], Condition]:
    """Return how the operand of prefix or suffix is read."""

    def parse(path: str, operand: Any) -> Condition:
        if isinstance(operand, dict) and operand.keys() == {FOLDED}:
            return Condition(f"folded {kind}", _text(path, f"{kind} {FOLDED}", operand[FOLDED]).casefold())
        allowed = f'a string or {{"{FOLDED}": "text"}}'
        return Condition(kind, _text(path, kind, operand, allowed=allowed))

    return parse


def _wildcard(path: str, operand: Any) -> Condition:
    text = _text(path, "wildcard", operand)
    try:
        parts = parts_of(text)
    except ValueError as error:
        raise BadInput(f"wildcard {shown(text)} in {path} {error}.", path) from None
    return Condition("wildcard", Wildcard(parts)) if len(parts) > 1 else Condition("text", *parts)


def _exists(path: str, operand: Any) -> Condition:
    if not isinstance(operand, bool):
        raise BadInput(f"exists in {path} is {shown(operand)}; write true or false.", path)
    return Condition("exists") if operand else ABSENT


def _cidr(path: str, operand: Any) -> Condition:
    text = _text(path, "cidr", operand)
    try:
        if "/" not in text:
            raise ValueError("it has no /")
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        allowed = "write an address, / and how many bits count, such as 10.0.0.0/8 or 2001:db8::/32"
        raise BadInput(f"cidr in {path} is {shown(text)} ({error}); {allowed}.", path) from None
    first, last = network.network_address.packed, network.broadcast_address.packed
    return Condition("cidr", ((address_key(first), 0), (address_key(last), 1)))


def address_key(packed: bytes) -> bytes:
    """Return what addresses of both versions are ordered by."""
    return bytes([len(packed)]) + packed


# The bounds of ranges are just before a number (0) or just behind it (1).
_LOWER = {">": 1, ">=": 0}
_UPPER = {"<": 0, "<=": 1}
_NUMERIC = '["=", 5], [">", 0], ["<=", 9.5] or a range such as [">", 0, "<=", 9.5]'


def _numeric(path: str, operand: Any) -> Condition:
    try:
        return _comparison(path, operand)
    except ValueError as error:
        raise BadInput(f"numeric in {path} is {shown(operand)}, {error}; write {_NUMERIC}.", path) from None


def _comparison(path: str, operand: Any) -> Condition:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        raise ValueError("which is no list of one or two comparisons")
    signs, numbers = operand[::2], operand[1::2]
    for number in numbers:
        if not _is_number(number):
            raise ValueError(f"where {shown(number)} is no number")
        check_storable(path, number)
    if signs == ["="]:
        return Condition("number", numbers[0])
    if len(signs) == 2 and numbers[0] >= numbers[1]:
        raise ValueError(f"which is empty: {numbers[0]} is not below {numbers[1]}")
    return Condition("numeric", _bounds(signs, numbers))


def _bounds(signs: list[Any], numbers: list[float]) -> tuple[tuple[float, int], tuple[float, int]]:
    match signs, numbers:
        case [(">" | ">=") as lower], [number]:
            return (number, _LOWER[lower]), (math.inf, 0)
        case [("<" | "<=") as upper], [number]:
            return (-math.inf, 0), (number, _UPPER[upper])
        case [(">" | ">=") as lower, ("<" | "<=") as upper], [bottom, top]:
            return (bottom, _LOWER[lower]), (top, _UPPER[upper])
        case _:
            raise ValueError(f"where {' and '.join(map(shown, signs))} make no range")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _anything_but(path: str, operand: Any) -> Condition:
    if isinstance(operand, dict):
        return Condition("anything-but", _excluded_by_operator(path, operand))
    values = operand if isinstance(operand, list) else [operand]
    if not values or not (all(isinstance(value, str) for value in values) or all(map(_is_number, values))):
        allowed = (
            "write a string, a number, a list of strings, a list of numbers, "
            f"or one of {', '.join(_EXCLUDABLE)} in an object"
        )
        raise BadInput(f"anything-but in {path} is {shown(operand)}; {allowed}.", path)
    return Condition("anything-but", tuple(parse_condition(path, value) for value in values))


def _excluded_by_operator(path: str, operand: dict[str, Any]) -> tuple[Condition, ...]:
    if len(operand) != 1 or not operand.keys() <= set(_EXCLUDABLE):
        raise BadInput(f"anything-but in {path} is {shown(operand)}; write one of {', '.join(_EXCLUDABLE)}.", path)
    ((name, texts),) = operand.items()
    texts = texts if isinstance(texts, list) else [texts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadInput(
            f"anything-but {name} in {path} is {shown(operand[name])}; write a string or a list of them.", path
        )
    if name in ("prefix", "suffix") and "" in texts:
        raise BadInput(f"anything-but {name} in {path} holds the empty string, which excludes every string.", path)
    return tuple(OPERATORS[name](path, text) for text in texts)


OPERATORS: Mapping[str, Callable[[str, Any], Condition]] = MappingProxyType(
    {
        "prefix": _end("prefix"),
        "suffix": _end("suffix"),
        FOLDED: _equals_ignore_case,
        "anything-but": _anything_but,
        "numeric": _numeric,
        "exists": _exists,
        "wildcard": _wildcard,
        "cidr": _cidr,
    }
)
_EXCLUDABLE = ("prefix", "suffix", FOLDED, "wildcard")
