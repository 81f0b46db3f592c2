"""Why a pattern matches an event or does not, in words that name the place, the value and what was wanted."""

import json

import msgspec
import pytest

from endpoints.patterns import Check, Explanation, explain, parse_pattern
from endpoints.patterns.explaining import SHOWN_CHARACTERS, SHOWN_VALUES, SHOWN_WANTED
from tests.test_patterns_conformance import ONE_BY_ONE, STRUCTURES

EVENT = {
    "id": "e-1",
    "type": "order.paid",
    "data": {"total": 50, "items": [{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], "tags": [], "who": {"name": None}},
}


def reason(pattern, event=EVENT):
    return explain({"pattern": pattern}, event).reason


def test_each_condition_says_whether_it_held_and_on_what():
    pattern = {"type": ["order.paid"], "data": {"total": [{"numeric": [">", 100]}]}}

    assert explain({"pattern": pattern}, EVENT) == Explanation(
        matched=False,
        reason='data.total is 50, not {"numeric": [">", 100]}.',
        checks=[
            Check("pattern.type", "type", ["order.paid"], True, ['"order.paid"'], 'type is "order.paid".', True),
            Check(
                "pattern.data.total",
                "data.total",
                [{"numeric": [">", 100]}],
                False,
                ["50"],
                'data.total is 50, not {"numeric": [">", 100]}.',
                True,
            ),
        ],
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({}, "The pattern is empty: it matches every event."),
        ({"type": ["order.paid"]}, "All conditions hold."),
        ({"source": ["a"]}, "The event has no source."),
        ({"data": {"x": {"y": [1]}}}, "The event has no data.x.y."),
        ({"data": {"total": {"y": [1]}}}, "The event has no data.total.y."),
        ({"data": {"tags": ["a"]}}, 'data.tags is [], not "a".'),
        ({"data": {"who": ["a"]}}, 'data.who is {"name": null}, not "a".'),
        ({"data": {"who": {"name": ["a", "b"]}}}, 'data.who.name is null, not "a" or "b".'),
        ({"data": {"who": {"name": [*"abcd"]}}}, 'data.who.name is null, not "a" or one of 3 others.'),
        ({"data": {"total": [{"exists": False}]}}, 'data.total is 50, not {"exists": false}.'),
        ({"data": {"items": {"n": [3]}}}, "data.items.n is 1 and 2, not 3."),
        (
            {"data": {"items": {"sku": ["a"], "n": [2]}}},
            "Each condition holds by itself, but not all of them within the same element of an array.",
        ),
        ({"data": {"$or": [{"total": [1]}, {"x": [1]}]}}, "None of the 2 branches of pattern.data.$or holds."),
    ],
)
def test_the_whole_says_why(pattern, said):
    assert reason(pattern) == said


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([50], "data.total is 50."),
        ([1, {"numeric": ["<", 60]}], 'data.total is 50: {"numeric": ["<", 60]} holds.'),
        ([{"anything-but": [1]}], 'data.total is 50: {"anything-but": [1]} holds.'),
    ],
)
def test_what_held_is_named(wanted, said):
    (check,) = explain({"pattern": {"data": {"total": wanted}}}, EVENT).checks
    assert check.why == said


def test_absence_that_is_wanted_is_said():
    (check,) = explain({"pattern": {"data": {"x": [{"exists": False}]}}}, EVENT).checks
    assert (check.held, check.why) == (True, "The event has no data.x, as wanted.")


def test_absence_that_is_wanted_of_one_element_is_said():
    pattern = {"data": {"items": {"sku": ["a"], "gift": [{"exists": False}]}}}
    event = {"data": {"items": [{"sku": "a"}, {"sku": "b", "gift": True}]}}
    _, check = explain({"pattern": pattern}, event).checks
    assert check.held
    assert check.why == "data.items.gift is not in the element of the array that the other conditions hold in."


def test_the_branches_of_or_are_shown_each_and_required_of_nobody():
    pattern = {"data": {"$or": [{"vip": [True]}, {"total": [50]}]}}
    checks = explain({"pattern": pattern}, EVENT).checks
    assert [(check.at, check.held, check.required) for check in checks] == [
        ("pattern.data.$or", True, True),
        ("pattern.data.$or[0].vip", False, False),
        ("pattern.data.$or[1].total", True, False),
    ]
    assert checks[0].why == "pattern.data.$or[1] holds."


def test_the_published_form_is_explained_as_the_pattern_that_it_is():
    explanation = explain(
        {"in": {"cameraIds": ["c-1"], "eventTypes": None}}, {"type": "a", "data": {"cameraId": "c-2"}}
    )
    assert explanation.reason == 'data.cameraId is "c-2", not "c-1".'


def test_long_things_are_cut():
    event = {"data": {"a": ["x" * 10_000] * 100}}
    (check,) = explain({"pattern": {"data": {"a": [f"{n}" for n in range(1_000)]}}}, event).checks
    assert [len(shown) for shown in check.found] == [SHOWN_CHARACTERS + len("...")] * SHOWN_VALUES
    assert len(check.wanted) == SHOWN_WANTED


@pytest.mark.parametrize(("conditions", "value", "wanted"), ONE_BY_ONE)
def test_it_agrees_with_the_matcher_on_every_list(conditions, value, wanted):
    data = {} if value == "(absent)" else {"a": msgspec.json.decode(value)}
    explanation = explain({"pattern": {"data": {"a": json.loads(conditions)}}}, {"type": "t", "data": data})
    (check,) = explanation.checks
    assert (explanation.matched, check.held) == (wanted, wanted)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_it_agrees_with_the_matcher_on_every_structure(structure):
    data, pattern = msgspec.json.decode(structure[0]), {"data": json.loads(structure[1])}
    event = {"type": "t", "data": data}
    explanation = explain({"pattern": pattern}, event)
    assert explanation.matched == parse_pattern(pattern).match(event)
    if explanation.matched:
        assert all(check.held for check in explanation.checks if check.required)
