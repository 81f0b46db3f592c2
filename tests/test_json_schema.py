"""Schemas that strangers write for data that strangers send: what is right, what is refused, and what it costs."""

import json
import random
import time

import msgspec
import pytest

from endpoints.errors import BadInput
from endpoints.json_schema import MAX_BYTES, MAX_PATTERN_WORK, MAX_WEIGHT, Schema
from routing.submissions import MAX_DATA_BYTES

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["total"],
    "properties": {
        "total": {"type": "number", "minimum": 0},
        "country": {"enum": ["DE", "FR"]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
    },
    "$defs": {"item": {"type": "object", "properties": {"sku": {"type": "string", "pattern": "^[A-Z]+$"}}}},
}


def problem(schema, text):
    found = Schema(schema).problem(msgspec.json.decode(text) if text else None, text)
    return found and (found.field, found.message)


# --- what fits


@pytest.mark.parametrize(
    "text",
    ['{"total": 1}', '{"total": 1e2, "country": "DE", "more": [1]}', '{"total": 0, "items": [{"sku": "A"}, {}]}'],
)
def test_data_that_fits_has_no_problem(text):
    assert problem(ORDER, text) is None


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (
            '{"total": "1"}',
            "data.total",
            'data.total is "1": it is not of type "number" (schema.properties.total.type).',
        ),
        (
            '{"total": -1}',
            "data.total",
            "data.total is -1: it is less than the minimum of 0 (schema.properties.total.minimum).",
        ),
        ("{}", "data", 'data is {}: "total" is a required property (schema.required).'),
        ("", "data", 'data is missing: it is not of type "object" (schema.type).'),
        ("null", "data", 'data is null: it is not of type "object" (schema.type).'),
        (
            '{"total": 1, "items": [{}, {"sku": "a"}]}',
            "data.items[1].sku",
            'data.items[1].sku is "a": it does not match "^[A-Z]+$" (schema.$defs.item.properties.sku.pattern).',
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_value(text, field, message):
    assert problem(ORDER, text) == (field, message)


def test_a_value_that_is_long_is_shown_by_its_beginning():
    field, message = problem({"type": "number"}, json.dumps("x" * 1000))

    assert (field, len(message) < 200, "xxx..." in message) == ("data", True, True)


def test_long_numbers_are_held_against_a_schema_as_they_are():
    assert problem({"type": "integer", "minimum": 10**30}, f"{10**30}") is None
    assert problem({"maximum": 10**30}, f"{10**30 + 1}")


# --- what is no schema


@pytest.mark.parametrize(
    ("schema", "field", "message"),
    [
        ([], "schema", "schema is []; write an object."),
        (True, "schema", "schema is true; write an object."),
        ({"type": "strin"}, "schema.type", 'schema.type is "strin": it is none of'),
        ({"properties": {"a": {"minLength": -1}}}, "schema.properties.a.minLength", "-1: it is less than 0"),
        ({"properties": {"a": {"required": "b"}}}, "schema.properties.a.required", "it is not of type array"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#"},
            "schema.$schema",
            "it is https://json-schema.org/draft/2020",
        ),
        ({"$schema": "https://example.com/mine"}, "schema.$schema", "it is https://json-schema.org/draft/2020"),
        ({"title": "\0"}, "schema", "can't be stored"),
        ({"title": "\ud800"}, "schema", "can't be stored"),
        ({"title": "x" * MAX_BYTES}, "schema", f"at most {MAX_BYTES} are kept"),
        (json.loads('{"not":' * 51 + "{}" + "}" * 51), "schema", "nested over 50 deep"),
        # references
        ({"$ref": "http://127.0.0.1:9/schema"}, "schema.$ref", "write # or #/ and a place in this schema"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "schema.properties.a.$ref", "write # or #/"),
        ({"$ref": "#anchor", "$anchor": "anchor"}, "schema.$ref", "write # or #/"),
        ({"$ref": "#/$defs/a"}, "schema.$ref", "leads nowhere"),
        ({"properties": {"a": {"$ref": "#"}}}, "schema.properties.a.$ref", "leads back to itself"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}},
            },
            "schema.$defs.b.not.$ref",
            "leads back to itself",
        ),
        ({"$dynamicRef": "#a"}, "schema.$dynamicRef", "write $ref"),
        ({"items": {"$id": "https://example.com/other"}}, "schema.items.$id", "leave it out"),
        ({"dependencies": {}}, "schema.dependencies", "write dependentSchemas or dependentRequired"),
        # patterns
        ({"pattern": "(?=a)b"}, "schema.pattern", "without look-around and back-references"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "schema.properties.a.pattern", "without look-around"),
        ({"pattern": "(a{1000}){1000}"}, "schema.pattern", "fits into 10000 bytes"),
        ({"patternProperties": {"(?=a)b": True}}, "schema.patternProperties.(?=a)b", "without look-around"),
        # the weight
        ({"enum": list(range(MAX_WEIGHT))}, "schema.enum", f"weighs over {MAX_WEIGHT} values"),
    ],
)
def test_what_is_no_schema_is_refused_with_the_place(schema, field, message):
    with pytest.raises(BadInput) as refusal:
        Schema(schema)

    assert (refusal.value.field, message in refusal.value.message) == (field, True), refusal.value.message


def doubling(levels):
    """A schema of few bytes that is worked out 2 ** levels times."""
    twice = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{levels}": {"type": "number"}}}


def test_a_schema_that_doubles_with_every_reference_is_weighed_by_what_it_costs():
    Schema(doubling(8))

    with pytest.raises(BadInput, match="weighs over"):
        Schema(doubling(30))


def test_references_that_lead_on_and_on_are_refused_before_the_stack_ends():
    chain = {f"d{level}": {"not": {"$ref": f"#/$defs/d{level + 1}"}} for level in range(500)}

    with pytest.raises(BadInput, match="nested over 100 schemas deep"):
        Schema({"$ref": "#/$defs/d0", "$defs": {**chain, "d500": {}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "pattern": {"type": "number"}}},
        {"$ref": "#/$defs/a%20b~1c", "$defs": {"a b/c": True}},
        {"$id": "https://example.com/mine", "$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"const": {"$ref": "nowhere"}},
        {},
    ],
)
def test_what_only_looks_like_a_reference_is_none(schema):
    assert Schema(schema).problem({}, "{}") is None or "const" in schema


# --- what it costs


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [("(a+)+$", "a"), ("(a|a)*b", "a"), ("(0|1)*1(0|1){50}(2|3)", "01"), ("^(([a-z])+.)+[A-Z]([a-z])+$", "a")],
)
def test_a_pattern_costs_no_more_for_each_character_of_a_long_text(pattern, characters):
    """A backtracking engine would not end with the longer one."""
    schema = Schema({"pattern": pattern})
    chance = random.Random(1)
    costs = []
    for length in (15_000, 150_000):
        text = "".join(chance.choices(characters, k=length)) + "!"
        start = time.process_time()
        schema.problem(text, json.dumps(text))
        costs.append(time.process_time() - start)

    assert costs[1] <= 3 * 10 * max(costs[0], 0.01)


def test_patterns_that_have_looked_at_too_much_refuse_whatever_they_would_have_found():
    schema = {"not": {"pattern": "never"}}

    assert problem(schema, json.dumps("x" * (MAX_PATTERN_WORK - 5))) is None
    assert problem(schema, json.dumps("x" * MAX_PATTERN_WORK)) == (
        "data",
        "patterns look at too much text, more than is held against this schema for one event.",
    )
    assert problem({"items": {"pattern": "x"}}, json.dumps(["x" * 50_000] * 5))[0] == "data"


def test_what_one_event_cost_is_forgotten_for_the_next():
    schema = Schema({"pattern": "x"})
    text = json.dumps("x" * 150_000)

    assert [schema.problem(json.loads(text), text) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"anyOf": [{"const": number} for number in range(100)]}}, [-1]),
        ({"unevaluatedItems": False, "anyOf": [{"contains": {"const": n}} for n in range(5)]}, [1]),
        ({"patternProperties": {"a": True, "b": True}, "items": {}}, ["x" * 10]),
        (doubling(8), [1]),
    ],
    ids=["alternatives", "unevaluated", "names", "doubling"],
)
def test_a_schema_and_data_that_are_too_much_together_are_told_before_any_work(monkeypatch, schema, value):
    large = value * (MAX_DATA_BYTES // len(json.dumps(value)))
    compiled = Schema(schema)
    monkeypatch.setattr(compiled, "_validator", None)

    found = compiled.problem(large, json.dumps(large))

    assert (found.field, "more than is held against this schema" in found.message) == ("data", True)


def test_the_largest_data_is_held_against_a_schema_of_usual_size():
    large = [{"sku": "A"}] * 10_000

    assert problem({"items": ORDER["$defs"]["item"]}, json.dumps(large)) is None
