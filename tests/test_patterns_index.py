"""Many patterns at once: which are found is tested with the properties; here, at what cost."""

import pytest

from endpoints.patterns import Index, parse_pattern
from tests.test_patterns_work import calls_of

EVENT = {
    "type": "order.paid",
    "source": "/orders",
    "data": {
        "customer": "c-me",
        "total": 500,
        "path": "a/b.png",
        "address": "10.0.0.1",
        "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
        "tags": ["urgent", "gift"],
    },
}
MATCHING = [
    {"type": ["order.paid"], "data": {"customer": ["c-me"]}},
    {"data": {"total": [{"numeric": [">", 400]}]}},
    {"$or": [{"source": ["/orders"]}, {"source": ["/invoices"]}]},
]
# By what the others do not match, and share nothing but the type.
OTHERS = {
    "value": lambda n: {"type": ["order.paid"], "data": {"customer": [f"c-{n}"]}},
    "number": lambda n: {"type": ["order.paid"], "data": {"total": [n + 1_000, n + 1_000.5]}},
    "case": lambda n: {"type": ["order.paid"], "data": {"customer": [{"equals-ignore-case": f"C-{n}"}]}},
    "beginning": lambda n: {"type": ["order.paid"], "data": {"path": [{"prefix": f"dir-{n}/"}]}},
    "end": lambda n: {"type": ["order.paid"], "data": {"path": [{"suffix": f"{n}.png"}]}},
    "end in any case": lambda n: {
        "type": ["order.paid"],
        "data": {"path": [{"suffix": {"equals-ignore-case": f"{n}"}}]},
    },
    "range": lambda n: {"type": ["order.paid"], "data": {"total": [{"numeric": [">", n + 1_000, "<", n + 1_010]}]}},
    "upper bound": lambda n: {"type": ["order.paid"], "data": {"total": [{"numeric": ["<", n / 1_000]}]}},
    "network": lambda n: {"type": ["order.paid"], "data": {"address": [{"cidr": f"11.{n // 256}.{n % 256}.0/24"}]}},
    "wildcard": lambda n: {"type": ["order.paid"], "data": {"path": [{"wildcard": f"dir-{n}/*.png"}]}},
    "end of a wildcard": lambda n: {"type": ["order.paid"], "data": {"path": [{"wildcard": f"*/{n}.png"}]}},
    "absent path": lambda n: {"type": ["order.paid"], "data": {f"field-{n}": [{"exists": True}]}},
    "element": lambda n: {"type": ["order.paid"], "data": {"lines": {"sku": [f"sku-{n}"], "count": [1]}}},
    "value of an array": lambda n: {"type": ["order.paid"], "data": {"tags": [f"tag-{n}"]}},
    "alternatives": lambda n: {"$or": [{"type": [f"type-{n}"]}, {"data": {"customer": [f"c-{n}"], "total": [500]}}]},
}


def index_of(other, count):
    patterns = [*MATCHING, *(other(n) for n in range(count))]
    return Index([(parse_pattern(pattern), number) for number, pattern in enumerate(patterns)])


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_patterns_that_do_not_match_cost_next_to_nothing(other):
    few, many = index_of(other, 7), index_of(other, 997)

    assert sorted(few.matching(EVENT)) == sorted(many.matching(EVENT)) == [0, 1, 2]
    assert calls_of(lambda: list(many.matching(EVENT))) < 1.5 * calls_of(lambda: list(few.matching(EVENT)))


def test_patterns_that_want_absence_or_nothing_are_held_against_every_event():
    index = Index([(parse_pattern({"subject": [{"exists": False}]}), "absence"), (parse_pattern({}), "nothing")])

    assert sorted(index.matching({"type": "a"})) == ["absence", "nothing"]
    assert sorted(index.matching({"type": "a", "subject": "b"})) == ["nothing"]
