"""A second reading of the filter language, as simple as it can be: what endpoints.patterns is held against.

It takes an event apart into places, each a path, a value and, for each array of objects on the way, the element that
it lies in. A pattern matches when each of its fields finds a place that will do, no two in different elements of one
array. All combinations are tried.
"""

import re
from ipaddress import ip_address, ip_network
from itertools import product


def matches(pattern, event):
    places = list(places_of(event, (), {}))
    return any(is_met(fields, places) for fields in alternatives(pattern, ()))


def places_of(value, path, elements):
    if isinstance(value, dict):
        for name, member in value.items():
            yield from places_of(member, (*path, name), elements)
    elif isinstance(value, list):
        for index, element in enumerate(flat(value)):
            within = {**elements, (path, *elements.items()): index} if isinstance(element, dict) else elements
            yield from places_of(element, path, within)
    else:
        yield path, value, elements


def flat(array):
    for element in array:
        if isinstance(element, list):
            yield from flat(element)
        else:
            yield element


def alternatives(pattern, path):
    """Return lists of (path, conditions): of one list, all must be met."""
    choices = []
    for name, node in pattern.items():
        if name == "$or":
            choices.append([fields for branch in node for fields in alternatives(branch, path)])
        elif isinstance(node, dict):
            choices.append(alternatives(node, (*path, name)))
        else:
            choices.append([[((*path, name), node)]])
    return [[field for fields in chosen for field in fields] for chosen in product(*choices)]


def is_met(fields, places, elements=None, absent=()):
    elements = elements or {}
    if not fields:
        return not any(path in absent and agree(elements, within) for path, _, within in places)
    (path, conditions), *rest = fields
    return any(
        is_met(rest, places, {**elements, **within}, absent)
        for found, value, within in places
        if found == path and agree(elements, within) and any(holds(condition, value) for condition in conditions)
    ) or ({"exists": False} in conditions and is_met(rest, places, elements, (*absent, path)))


def agree(elements, others):
    return all(others.get(array, index) == index for array, index in elements.items())


def holds(condition, value):
    if not isinstance(condition, dict):
        return is_same(condition, value)
    ((operator, operand),) = condition.items()
    if operator == "anything-but":
        return not any(holds(excluded, value) for excluded in excluded_by(operand))
    if operator == "exists":
        return operand
    if operator == "numeric":
        return is_number(value) and all(
            compare(sign, value, number) for sign, number in zip(operand[::2], operand[1::2], strict=True)
        )
    return isinstance(value, str) and TEXT_OPERATORS[operator](operand, value)


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_same(wanted, value):
    if is_number(wanted) and is_number(value):
        return wanted == value
    return type(wanted) is type(value) and wanted == value


def excluded_by(operand):
    if isinstance(operand, dict):
        ((operator, texts),) = operand.items()
        return [{operator: text} for text in (texts if isinstance(texts, list) else [texts])]
    return operand if isinstance(operand, list) else [operand]


def compare(sign, value, number):
    if sign == "=":
        return value == number
    if "<" in sign:
        return value < number or (sign == "<=" and value == number)
    return value > number or (sign == ">=" and value == number)


def prefix(operand, value):
    if isinstance(operand, dict):
        return prefix(operand["equals-ignore-case"].casefold(), value.casefold())
    return value[: len(operand)] == operand


def suffix(operand, value):
    if isinstance(operand, dict):
        return suffix(operand["equals-ignore-case"].casefold(), value.casefold())
    return operand == "" or value[-len(operand) :] == operand


def wildcard(operand, value):
    """Any text for an asterisk, by a regular expression."""
    tokens = re.findall(r"\\.|.", operand, re.DOTALL)
    expression = "".join(".*" if token == "*" else re.escape(token[-1]) for token in tokens)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def cidr(operand, value):
    try:
        return ip_address(value) in ip_network(operand, strict=False)
    except ValueError:
        return False


TEXT_OPERATORS = {
    "prefix": prefix,
    "suffix": suffix,
    "equals-ignore-case": lambda operand, value: operand.casefold() == value.casefold(),
    "wildcard": wildcard,
    "cidr": cidr,
}
