"""What matching costs at worst: as much as the event is big, whatever the pattern."""

import sys
from collections import Counter

import msgspec
import pytest

from benchmarks.pathological import PAIRS
from endpoints.patterns import parse_pattern
from routing.submissions import MAX_DATA_BYTES

SMALL = 4_000  # bytes


def calls_of(function):
    """Return how many calls `function` makes, also of what is written in C."""
    calls = Counter()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls["call"] + calls["c_call"]


@pytest.mark.parametrize("name", PAIRS)
def test_twice_the_event_costs_twice_the_work(name):
    pattern, data_of = PAIRS[name]
    compiled = parse_pattern({"data": pattern})
    small, big = ({"data": data_of(size)} for size in (SMALL, 2 * SMALL))

    assert not compiled.match(small)
    assert calls_of(lambda: compiled.match(big)) < 2.5 * calls_of(lambda: compiled.match(small)) + 100


@pytest.mark.parametrize("name", PAIRS)
def test_the_worst_events_are_ones_that_are_accepted(name):
    _, data_of = PAIRS[name]

    assert MAX_DATA_BYTES * 0.8 < len(msgspec.json.encode(data_of(MAX_DATA_BYTES))) <= MAX_DATA_BYTES


def test_more_alternatives_do_not_multiply_the_work():
    """Each of so many arrays has two elements: there are 2 ** 10 ways to choose, none of which will do."""

    def calls(count):
        names = [str(number) for number in range(count)]
        pattern = {name: {"$or": [{"a": ["!"]}, {"b": ["!"]}]} for name in names}
        compiled = parse_pattern({"data": {"last": ["!"], **pattern}})
        event = {"data": {"last": "?", **{name: [{"a": 1}, {"b": 1}] for name in names}}}
        assert not compiled.match(event)
        return calls_of(lambda: compiled.match(event))

    assert calls(10) < 3 * calls(5)
