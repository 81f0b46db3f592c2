"""What data looks like, without its values."""

import json

import pytest

from endpoints.inferring import MAX_MEMBERS, MAX_NODES, infer, merged


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (
            {"customer": {"country": "DE", "vip": True}, "tags": ["a", "b"], "total": 1.5, "note": None},
            {
                "customer": {"country": "string", "vip": "boolean"},
                "tags": ["string"],
                "total": "number",
                "note": "null",
            },
        ),
        (7, "number"),
        (None, "null"),
        ({}, {}),
        ([], []),
        ([[], [1]], [["number"]]),
        ([1, "a", None], ["null|number|string"]),
        ([{"a": 1}, {"b": 2}, {"a": "x"}], [{"a": "number|string", "b": "number"}]),
        ([{"a": 1}, None], [{"a": "number"}]),
        ([{"a": 1}, 5, []], ["array|number|object"]),
    ],
)
def test_a_value_is_told_by_its_types(value, shape):
    assert infer(value) == shape


@pytest.mark.parametrize(
    ("known", "new", "both"),
    [
        ({"a": "null"}, {"a": "string", "b": "number"}, {"a": "null|string", "b": "number"}),
        ({"a": {"b": "string"}}, {"a": "null"}, {"a": {"b": "string"}}),
        ({"a": "null"}, {"a": ["string"]}, {"a": ["string"]}),
        ({"a": []}, {"a": ["string"]}, {"a": ["string"]}),
        ({"a": {"b": "string"}}, {"a": "string"}, {"a": "object|string"}),
        ("null|string", "number", "null|number|string"),
    ],
)
def test_two_shapes_are_merged_into_one_that_covers_both(known, new, both):
    assert (merged(known, new), merged(both, new), merged(known, known)) == (both, both, known)


def nodes(shape):
    inner = shape.values() if isinstance(shape, dict) else shape if isinstance(shape, list) else ()
    return 1 + sum(map(nodes, inner))


def nested(levels, value):
    return json.loads('{"a":' * levels + "[" * levels + json.dumps(value) + "]" * levels + "}" * levels)


@pytest.mark.parametrize(
    "value",
    [
        {f"{number}": number for number in range(5_000)},
        [[number] * 100 for number in range(1_000)],
        [{f"{number}": [{f"{n}": 1 for n in range(200)}]} for number in range(1_000)],
        nested(45, 1),
        {"x" * 10_000: 1},
    ],
    ids=["wide", "long", "many", "deep", "named"],
)
def test_a_shape_has_limits_whatever_the_value(value):
    shape = infer(value)

    assert nodes(shape) <= MAX_NODES
    assert len(json.dumps(shape)) <= 50_000


def test_a_shape_does_not_grow_beyond_its_limit_by_merging():
    known = {}
    for number in range(200):
        known = merged(known, infer({f"{number % 50}": {f"{number}-{n}": n for n in range(90)}}))

    assert 100 < nodes(known) <= MAX_NODES
    assert all(len(inner) <= MAX_MEMBERS for inner in known.values())
