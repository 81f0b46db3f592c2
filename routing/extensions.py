"""Attributes of an event beyond those that the service knows: CloudEvents' extensions, and dataschema."""

import re
from typing import Any

import msgspec

from endpoints.errors import BadInput

MOST = 32
MAX_BYTES = 4096  # of all of them, as JSON: in a binary CloudEvent they are headers, of which servers take 8 KiB or so
NAME = "[a-z0-9]{1,64}"  # the specification has these characters, and would like 20 of them at most
TAKEN = frozenset(("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "traceparent", "data"))
_NAME = re.compile(NAME)
_INTEGERS = range(-(2**31), 2**31)


def checked(given: Any) -> str:
    """Return the attributes as one JSON text, in the order of their names; "" where there are none. Raises BadInput."""
    if given is None:
        return ""
    if not isinstance(given, dict):
        raise BadInput(f"extensions is {given!r:.60}; give an object of names and values.", "extensions")
    found = {name: _value(name, given[name]) for name in sorted(given) if given[name] is not None}
    if len(found) > MOST:
        raise BadInput(f"There are {len(found)} extension attributes; at most {MOST} are kept.", "extensions")
    try:
        text = msgspec.json.encode(found)
    except UnicodeEncodeError:
        raise BadInput(
            "An extension attribute holds half of a surrogate pair, which is no text.", "extensions"
        ) from None
    if len(text) > MAX_BYTES:
        raise BadInput(f"The extension attributes have {len(text)} bytes; at most {MAX_BYTES} are kept.", "extensions")
    return text.decode() if found else ""


def _value(name: str, value: Any) -> str | int | bool:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r:.80} is no name of an extension attribute; it has 1 to 64 of the characters a-z and 0-9.",
            "extensions",
        )
    if name in TAKEN:
        raise BadInput(f"{name} is no extension attribute; the event has it as a member of its own.", "extensions")
    if isinstance(value, float) and value.is_integer():  # to JSON, and to its schemas, 1.0 is the integer 1
        value = int(value)
    if not isinstance(value, str | int) or (not isinstance(value, bool | str) and value not in _INTEGERS):
        raise BadInput(
            f"The extension attribute {name} is {value!r:.60}; give a string, a boolean or an integer of 32 bits.",
            f"extensions.{name}",
        )
    if isinstance(value, str) and "\0" in value:
        raise BadInput(
            f"The extension attribute {name} holds a NUL character, which can't be stored.", f"extensions.{name}"
        )
    return value
