"""The filter language: what a definition may be, and which events it lets through."""

import json
import math

import pytest

from endpoints.errors import BadInput
from endpoints.models import EventFilter
from endpoints.patterns import (
    MAX_ALTERNATIVES,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_RANGES,
    MAX_SIZE,
    MAX_VALUES,
    MAX_WILDCARDS,
    check_definition,
    parse_definition,
    parse_pattern,
)

EVENT = {
    "type": "order.paid",
    "source": "shop",
    "data": {
        "total": 1,
        "paid": True,
        "note": None,
        "customer": {"country": "DE", "name": "Zoë"},
        "tags": ["urgent", "gift"],
        "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 2}],
    },
}


def wants(pattern, event=EVENT):
    return parse_pattern(pattern).match(event)


def nested(levels):
    """Return a pattern of data with that many objects around its list."""
    node = ["value"]
    for _ in range(levels):
        node = {"a": node}
    return {"data": node}


def test_the_empty_pattern_wants_every_event():
    assert wants({})


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ({"type": ["order.paid"]}, True),
        ({"type": ["order.refunded", "order.paid"]}, True),
        ({"type": ["order.refunded"]}, False),
        ({"type": ["order"]}, False),
        ({"type": ["ORDER.PAID"]}, False),
    ],
)
def test_any_value_of_a_list_will_do_and_is_compared_exactly(pattern, wanted):
    assert wants(pattern) is wanted


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ({"type": ["order.paid"], "source": ["shop"]}, True),
        ({"type": ["order.paid"], "source": ["till"]}, False),
        ({"data": {"total": [1], "customer": {"country": ["DE"], "name": ["Zoë"]}}}, True),
        ({"data": {"total": [1], "customer": {"country": ["DE"], "name": ["Zoe"]}}}, False),
    ],
)
def test_all_fields_must_match(pattern, wanted):
    assert wants(pattern) is wanted


@pytest.mark.parametrize(
    "absent",
    [
        {"subject": ["anything", None]},
        {"data": {"discount": [None]}},
        {"data": {"customer": {"city": [None]}}},
        {"data": {"total": {"amount": [1]}}},
        {"data": {"note": {"text": [None]}}},
    ],
)
def test_what_the_event_does_not_have_never_matches(absent):
    assert not wants(absent)


@pytest.mark.parametrize(
    ("given", "listed", "wanted"),
    [
        ("1", 1, True),
        ("1", 1.0, True),
        ("1.0", 1, True),
        ("1", "1", False),
        ("1", True, False),
        ("true", 1, False),
        ("true", True, True),
        ("0", False, False),
        ("null", None, True),
        ("null", "null", False),
        ('""', None, False),
        ('"a"', "a", True),
        ("{}", None, False),
        ("123456789012345678901234567890", 123456789012345678901234567890, True),
    ],
)
def test_values_are_compared_by_their_json_type(given, listed, wanted):
    assert wants({"data": {"value": [listed]}}, {"data": {"value": json.loads(given)}}) is wanted


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ({"data": {"tags": ["gift"]}}, True),
        ({"data": {"tags": ["dull"]}}, False),
        ({"data": {"lines": {"sku": ["b"], "count": [2]}}}, True),
        ({"data": {"lines": {"sku": ["b"], "count": [1]}}}, False),
    ],
)
def test_an_array_matches_when_one_of_its_elements_does(pattern, wanted):
    assert wants(pattern) is wanted


def test_an_array_of_arrays_is_searched_through():
    assert wants({"data": {"grid": [4]}}, {"data": {"grid": [[1, 2], [3, [4]]]}})


def test_an_empty_array_matches_nothing():
    assert not wants({"data": {"tags": [None, ""]}}, {"data": {"tags": []}})


def test_data_that_is_no_object_matches_a_list_of_values():
    assert wants({"data": ["ready"]}, {"data": "ready"})
    assert not wants({"data": {"state": ["ready"]}}, {"data": "ready"})


@pytest.mark.parametrize("sent", ["strasse", "STRASSE", "Straße"])
def test_equals_ignore_case_leaves_the_case_of_letters_open(sent):
    assert wants({"type": [{"equals-ignore-case": "STRAßE"}]}, {"type": sent})


def test_equals_ignore_case_stands_beside_exact_values():
    either = {"type": ["Exact", {"equals-ignore-case": "Loose"}]}

    assert [wants(either, {"type": sent}) for sent in ("Exact", "exact", "LOOSE", "other")] == [
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("definition", "pattern"),
    [
        ({"eventTypes": ["HAR", "ROI"]}, {"type": [{"equals-ignore-case": "HAR"}, {"equals-ignore-case": "ROI"}]}),
        ({"cameraIds": ["c1", "c2"]}, {"data": {"cameraId": ["c1", "c2"]}}),
        (
            {"agentIds": ["a"], "profileGroupIds": ["p"], "cameraIds": None},
            {"data": {"agentId": ["a"], "profileGroupIds": ["p"]}},
        ),
        ({}, {}),
    ],
)
def test_the_published_form_is_a_pattern_in_other_words(definition, pattern):
    assert parse_definition({"in": definition}) == parse_definition({"pattern": pattern})


@pytest.mark.parametrize(
    ("definition", "at_fault"),
    [
        (None, "definition"),
        ([], "definition"),
        ({}, "definition"),
        ({"pattern": {}, "in": {}}, "definition"),
        ({"not": {}}, "definition"),
        ({"pattern": None}, "pattern"),
        ({"pattern": {"types": ["a"]}}, "pattern.types"),
        ({"pattern": {"type": "order.paid"}}, "pattern.type"),
        ({"pattern": {"type": {"name": ["a"]}}}, "pattern.type"),
        ({"pattern": {"type": []}}, "pattern.type"),
        ({"pattern": {"data": {}}}, "pattern.data"),
        ({"pattern": {"data": {"customer": {"country": "DE"}}}}, "pattern.data.customer.country"),
        ({"pattern": {"data": {"tags": [["nested"]]}}}, "pattern.data.tags"),
        ({"pattern": {"data": {"tags": [{"starts-with": "a"}]}}}, "pattern.data.tags"),
        ({"pattern": {"data": {"tags": [{"equals-ignore-case": 1}]}}}, "pattern.data.tags"),
        ({"in": []}, "in"),
        ({"in": {"sensorIds": ["a"]}}, "in.sensorIds"),
        ({"in": {"eventTypes": []}}, "in.eventTypes"),
        ({"in": {"eventTypes": "HAR"}}, "in.eventTypes"),
        ({"in": {"cameraIds": [1]}}, "in.cameraIds"),
    ],
)
def test_a_refusal_names_the_path_of_what_is_wrong(definition, at_fault):
    with pytest.raises(BadInput) as refusal:
        parse_definition(definition)

    assert refusal.value.field == at_fault


@pytest.mark.parametrize(
    ("pattern", "at_fault", "message"),
    [
        (
            {"types": ["a"]},
            "pattern.types",
            '"types" in pattern is no field to filter by; '
            "use id, type, date, source, subject, workspaceId, data or $or.",
        ),
        ({"type": "a"}, "pattern.type", 'pattern.type is "a"; write a list of values.'),
        ({"data": {"a": {"prefix": "x"}}}, "pattern.data.a.prefix", 'pattern.data.a.prefix is "x"; write a list'),
        (
            {"data": {"a": [{"starts-with": "x"}]}},
            "pattern.data.a",
            'pattern.data.a holds the operator "starts-with"; there are prefix, suffix, equals-ignore-case, '
            "anything-but, numeric, exists, wildcard, cidr.",
        ),
        ({"data": {"a": [{"prefix": "x", "suffix": "y"}]}}, "pattern.data.a", "with 2 operators; write one in each"),
        ({"data": {"a": [{}]}}, "pattern.data.a", "with 0 operators; write one in each"),
        ({"data": {"a": [["x"]]}}, "pattern.data.a", 'holds the list ["x"]; lists do not nest'),
        ({"data": {"a": {}}}, "pattern.data.a", "is an empty object; leave it out"),
        ({"data": {"a": []}}, "pattern.data.a", "is an empty list, which no event matches; leave it out"),
        ({"data": [{"prefix": 1}]}, "pattern.data", 'prefix in pattern.data is 1; write a string or {"equals-'),
        ({"data": [{"prefix": {"suffix": "a"}}]}, "pattern.data", 'is {"suffix": "a"}; write a string or'),
        ({"data": [{"prefix": {"equals-ignore-case": 1}}]}, "pattern.data", "prefix equals-ignore-case in pattern"),
        ({"data": [{"suffix": None}]}, "pattern.data", "suffix in pattern.data is null; write a string"),
        ({"data": [{"equals-ignore-case": ["a"]}]}, "pattern.data", 'is ["a"]; write a string.'),
        ({"data": [{"exists": "yes"}]}, "pattern.data", 'exists in pattern.data is "yes"; write true or false.'),
        ({"data": [{"exists": 1}]}, "pattern.data", "exists in pattern.data is 1; write true or false."),
        ({"data": [{"wildcard": 1}]}, "pattern.data", "wildcard in pattern.data is 1; write a string."),
        ({"data": [{"wildcard": "a**b"}]}, "pattern.data", "two asterisks in a row at character 2; write one."),
        ({"data": [{"wildcard": "a\\b"}]}, "pattern.data", "at character 1; a backslash stands before * or \\."),
        ({"data": [{"wildcard": "ab\\"}]}, "pattern.data", "at character 2; a backslash stands before * or \\."),
        ({"data": [{"cidr": "10.0.0.1"}]}, "pattern.data", 'cidr in pattern.data is "10.0.0.1" (it has no /); write'),
        ({"data": [{"cidr": "10.0.0.0/33"}]}, "pattern.data", "write an address, / and how many bits count"),
        ({"data": [{"cidr": "10.0.0.256/8"}]}, "pattern.data", "write an address, / and how many bits count"),
        ({"data": [{"cidr": "2001:db8::/129"}]}, "pattern.data", "write an address, / and how many bits count"),
        ({"data": [{"cidr": 10}]}, "pattern.data", "cidr in pattern.data is 10; write a string."),
        ({"data": [{"numeric": 5}]}, "pattern.data", "is 5, which is no list of one or two comparisons; write"),
        ({"data": [{"numeric": []}]}, "pattern.data", "is [], which is no list of one or two comparisons; write"),
        ({"data": [{"numeric": [">"]}]}, "pattern.data", "which is no list of one or two comparisons; write"),
        ({"data": [{"numeric": [">", "5"]}]}, "pattern.data", 'where "5" is no number; write'),
        ({"data": [{"numeric": [">", True]}]}, "pattern.data", "where true is no number; write"),
        ({"data": [{"numeric": ["!=", 5]}]}, "pattern.data", 'where "!=" make no range; write'),
        ({"data": [{"numeric": [5, 5]}]}, "pattern.data", "where 5 make no range; write"),
        ({"data": [{"numeric": ["=", 5, "<", 9]}]}, "pattern.data", 'where "=" and "<" make no range; write'),
        ({"data": [{"numeric": [">", 5, ">", 9]}]}, "pattern.data", 'where ">" and ">" make no range; write'),
        ({"data": [{"numeric": ["<", 5, ">", 9]}]}, "pattern.data", 'where "<" and ">" make no range; write'),
        ({"data": [{"numeric": [">", 5, "<", 3]}]}, "pattern.data", "which is empty: 5 is not below 3; write"),
        ({"data": [{"numeric": [">=", 5, "<=", 5]}]}, "pattern.data", "which is empty: 5 is not below 5; write"),
        ({"data": [{"anything-but": []}]}, "pattern.data", "anything-but in pattern.data is []; write a string, a"),
        ({"data": [{"anything-but": None}]}, "pattern.data", "anything-but in pattern.data is null; write a string"),
        ({"data": [{"anything-but": True}]}, "pattern.data", "anything-but in pattern.data is true; write a string"),
        ({"data": [{"anything-but": ["a", 1]}]}, "pattern.data", 'is ["a", 1]; write a string, a number, a list'),
        ({"data": [{"anything-but": {"numeric": 1}}]}, "pattern.data", "write one of prefix, suffix, equals-ignore"),
        ({"data": [{"anything-but": {"prefix": []}}]}, "pattern.data", "is []; write a string or a list of them."),
        ({"data": [{"anything-but": {"prefix": ["a", 1]}}]}, "pattern.data", "write a string or a list of them."),
        ({"data": [{"anything-but": {"suffix": ""}}]}, "pattern.data", "the empty string, which excludes every"),
        ({"data": [{"anything-but": {"wildcard": "**"}}]}, "pattern.data", "two asterisks in a row"),
        ({"$or": {"type": ["a"]}}, "pattern.$or", "write a list of two objects or more."),
        ({"$or": [{"type": ["a"]}]}, "pattern.$or", "write a list of two objects or more."),
        ({"$or": [{"type": ["a"]}, ["b"]]}, "pattern.$or", "write a list of two objects or more."),
        ({"$or": [{"type": ["a"]}, {}]}, "pattern.$or[1]", "is an empty object"),
        ({"$or": [{"type": ["a"]}, {"kind": ["b"]}]}, "pattern.$or[1].kind", "is no field to filter by"),
        (
            {"data": {"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"c": 3}]}]}},
            "pattern.data.$or[1].$or[1].c",
            "pattern.data.$or[1].$or[1].c is 3; write a list of values or an object.",
        ),
        (
            {"data": {"a": {"$or": [{"prefix": ["x"]}, {"suffix": ["y"]}]}}},
            "pattern.data.a.$or[0]",
            "has the operator prefix as a field",
        ),
    ],
)
def test_a_refusal_says_what_was_found_and_what_is_allowed(pattern, at_fault, message):
    with pytest.raises(BadInput) as refusal:
        parse_pattern(pattern)

    assert refusal.value.field == at_fault
    assert message in refusal.value.message


@pytest.mark.parametrize("value", ["\0", "\ud800", float("nan"), float("inf"), {"equals-ignore-case": "\0"}], ids=ascii)
def test_a_value_that_the_database_can_not_hold_is_refused(value):
    with pytest.raises(BadInput) as refusal:
        parse_definition({"pattern": {"data": {"note": [value]}}})

    assert refusal.value.field == "pattern.data.note"


@pytest.mark.parametrize("name", ["\0", "\ud800"], ids=ascii)
def test_a_name_that_the_database_can_not_hold_is_refused(name):
    with pytest.raises(BadInput):
        parse_definition({"pattern": {"data": {name: ["value"]}}})


def test_a_pattern_nests_as_deep_as_the_limit_and_no_deeper():
    parse_pattern(nested(MAX_DEPTH))

    with pytest.raises(BadInput, match=f"nested over {MAX_DEPTH} deep"):
        parse_pattern(nested(MAX_DEPTH + 1))


def test_a_list_has_as_many_values_as_the_limit_and_no_more():
    parse_pattern({"type": [str(n) for n in range(MAX_VALUES)]})

    with pytest.raises(BadInput, match=f"at most {MAX_VALUES}"):
        parse_pattern({"type": [str(n) for n in range(MAX_VALUES + 1)]})


@pytest.mark.parametrize(
    ("limit", "of_size"),
    [
        (MAX_FIELDS, lambda count: {"data": {str(n): ["a"] for n in range(count)}}),
        (MAX_RANGES, lambda count: {"data": [{"prefix": str(n)} for n in range(count)]}),
        (MAX_RANGES, lambda count: {"data": [{"anything-but": {"suffix": [str(n) for n in range(1, count)]}}]}),
        (MAX_WILDCARDS, lambda count: {"data": [{"wildcard": f"{n}*"} for n in range(count)]}),
        (MAX_WILDCARDS, lambda count: {"data": [{"anything-but": {"wildcard": [f"{n}*" for n in range(count)]}}]}),
        (MAX_SIZE, lambda count: {"type": ["x" * (count - len('{"type": [""]}'))]}),
    ],
    ids=["fields", "ranges", "ranges excluded", "wildcards", "wildcards excluded", "size"],
)
def test_a_pattern_is_as_big_as_the_limits_and_no_bigger(limit, of_size):
    parse_pattern(of_size(limit))

    with pytest.raises(BadInput, match=f"has {limit + 1} .*; at most {limit} are allowed"):
        parse_pattern(of_size(limit + 1))


@pytest.mark.parametrize("alternatives", [MAX_ALTERNATIVES * 2, 2**40])
def test_alternatives_that_multiply_are_counted_before_they_are_made(alternatives):
    def pattern(count):
        either = {"$or": [{"a": ["x"]}, {"b": ["x"]}]}
        return {"data": {str(n): either for n in range(int(math.log2(count)))}}

    parse_pattern(pattern(MAX_ALTERNATIVES))

    with pytest.raises(BadInput, match=f"has {alternatives} alternatives by its .or; at most {MAX_ALTERNATIVES}"):
        parse_pattern(pattern(alternatives))


@pytest.mark.parametrize(
    "pattern",
    [
        {"data": {"a": [{"numeric": [">", 1e23, "<", 10**23]}]}},  # it comes back as 10**23 twice
        {"data": {"a": [1e308 + number * 1e292 for number in range(1_000)]}},  # and as 309 digits each
    ],
)
def test_what_the_database_would_give_back_as_something_wrong_is_refused(pattern):
    parse_pattern(pattern)
    with pytest.raises(BadInput):
        check_definition({"pattern": pattern})


def test_a_refused_definition_is_not_stored(workspace):
    with pytest.raises(BadInput):
        EventFilter.create(workspace_id=workspace.pk, name="Bad", definition={"pattern": {"type": []}})

    assert not EventFilter.objects.exists()
