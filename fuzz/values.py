"""What hurts: each value is drawn from a Random, so that the same seed gives the same ones."""

import json
from random import Random
from typing import Any

TEXTS = (
    "",
    " ",
    "\0",
    "\x7f\x1b[31m",
    "\u202egnp.exe",
    "\ufeff",
    "\U0001d7d9\u0663",  # digits to Python, to nobody else
    "e\u0301" * 300,
    "x" * 256,
    "x" * 70_000,
    "'; DROP TABLE routing_event; --",
    "<script>alert(1)</script>",
    "{{7*7}} %s %n ${jndi:ldap://127.0.0.1/a}",
    "../../../../etc/passwd",
    "\r\nX-Injected: 1",
    "NaN",
    "null",
    "1e999",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30T25:61:61Z",
    "2026-11-22T10:00:00Z",
    "00000000-0000-0000-0000-000000000000",
    "(a+)+$",
    "[" * 300,
    "order.paid",
)
HALF_PAIR = "\ud800"  # only as an escape can it be sent
NUMBERS = (
    0,
    1,
    -1,
    2**31 - 1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**400,
    10**5_000,
    0.5,
    -1e-320,
    1e308,
)
NUMBER_TEXTS = ("1.00", "1e2", "-0", "-0.0", "1E+400", "1e-400", "0.1000000000000000055511151231257827", "9" * 400)
JSON_NAMES = ("type", "data", "id", "a", "", "$path", "$ref", "__proto__", "é", "x" * 300)


def text(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice(TEXTS)
    return "".join(random.choices("ab.-_ /*\\\"'{}[]()$%&é€\U0001f600\n\t09", k=random.randrange(1, 40)))


def number(random: Random) -> int | float:
    return random.choice(NUMBERS) if random.random() < 0.5 else random.randrange(-300, 300)


def value(random: Random, levels: int = 4) -> Any:
    """Return a JSON value that Python can write."""
    kind = random.randrange(8 if levels else 5)
    if kind < 2:
        return text(random)
    if kind < 3:
        return written(number(random))
    if kind < 5:
        return random.choice((None, True, False))
    if kind < 6:
        return [value(random, levels - 1) for _ in range(random.randrange(4))]
    return {random.choice((*JSON_NAMES, text(random))): value(random, levels - 1) for _ in range(random.randrange(4))}


def written(found: int | float) -> int | float:
    """Return a number that json.dumps can write: Python refuses 4,301 digits and more."""
    return found if isinstance(found, float) or abs(found) < 10**4_000 else 10**4_000


def json_text(random: Random, levels: int = 4) -> str:
    """Return a JSON text with what no serialiser would write: odd numbers, names twice, spaces, escapes."""
    kind = random.randrange(9 if levels else 6)
    if kind < 2:
        return json.dumps(text(random), ensure_ascii=random.random() < 0.5)
    if kind < 4:
        return random.choice(NUMBER_TEXTS)
    if kind < 5:
        return random.choice(("null", "true", "false", '"\\u0041\\/"', '"\\ud83d\\ude00"'))
    if kind < 6:
        return random.choice(('"\\ud800"', '"\\u0000"', "[" * 120 + "]" * 120, "NaN", "[1,]", "{'a':1}", "01", '"\t"'))
    space = random.choice(("", " ", "\n", "\t "))
    inner = [json_text(random, levels - 1) for _ in range(random.randrange(4))]
    if kind < 7:
        return f"[{space}{f'{space},'.join(inner)}]"
    named = (f"{json.dumps(random.choice(JSON_NAMES))}{space}:{part}" for part in inner)
    return f"{{{f',{space}'.join(named)}{space}}}"


def mangled(random: Random, data: bytes) -> bytes:
    """Return `data` with one wound: something cut out, doubled, turned or put in."""
    start = random.randrange(len(data) + 1)
    end = min(len(data), start + random.choice((0, 1, 2, 16)))
    put = random.choice((b"", data[start:end] * 2, random.randbytes(3), b"\0", b"\xff", b"\r\n", b"{" * 50, b'"'))
    return data[:start] + put + data[end:]


def perhaps_mangled(random: Random, data: bytes, chance: float = 0.15) -> bytes:
    return mangled(random, data) if random.random() < chance else data
