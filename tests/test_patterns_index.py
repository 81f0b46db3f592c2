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


@pytest.mark.parametrize(
    ("pattern", "data"),
    [
        (lambda n: {"id": [f"c-{n}"], "total": [2]}, {"id": [f"c-{n}" for n in range(1_000)], "total": 1}),
        (
            lambda n: {"lines": {"sku": [f"c-{n}"], "count": [2]}},
            {"lines": [{"sku": f"c-{n}", "count": 1} for n in range(1_000)]},
        ),
        (lambda n: {"a": [{"exists": False}], f"b-{n}": [{"exists": False}]}, {"a": 1}),
    ],
    ids=["values", "objects", "absence"],
)
def test_an_event_that_may_match_all_of_many_patterns_is_not_gone_through_for_each(pattern, data):
    patterns = [(parse_pattern({"data": pattern(n)}), n) for n in range(500)]
    together, one_by_one = Index(patterns, together=1), Index(patterns, together=501)
    event = {"data": data}

    assert list(together.matching(event)) == list(one_by_one.matching(event)) == []
    assert calls_of(lambda: list(together.matching(event))) < calls_of(lambda: list(one_by_one.matching(event))) / 5
