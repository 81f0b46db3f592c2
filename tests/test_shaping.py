"""Payload shapes: what of an event's data an endpoint is sent."""

import json
import random

import msgspec
import pytest
from django.db import connection

from endpoints.errors import BadInput
from endpoints.models import Endpoint
from endpoints.shaping import MAX_BYTES, check, parse, shaped
from routing.queue import claim
from routing.submissions import MAX_DATA_BYTES
from routing.webhooks import content
from tests.traffic import record

DATA = (
    '{"customer": {"id": 1.00, "name": "Zo\\u00eb"}, "items":[{"sku":"a","n":1e2},{"n":2},{"sku":"b"},5],'
    '"total" : 12345678901234567890123 , "nothing":null,"tags":[]}'
)


def shape(document, data=DATA):
    return parse(document)(data)


def test_a_template_may_be_any_value():
    for constant in (None, True, 0, "", []):
        assert shape({"template": constant}) == json.dumps(constant)


# --- paths


@pytest.mark.parametrize(
    ("paths", "sent"),
    [
        (["total"], '{"total":12345678901234567890123}'),
        (["customer.id"], '{"customer":{"id":1.00}}'),
        ([["customer", "id"]], '{"customer":{"id":1.00}}'),
        (["customer"], '{"customer":{"id": 1.00, "name": "Zo\\u00eb"}}'),
        (["customer.id", "customer"], '{"customer":{"id": 1.00, "name": "Zo\\u00eb"}}'),
        (
            ["nothing", "total", "customer.name"],
            '{"customer":{"name":"Zo\\u00eb"},"total":12345678901234567890123,"nothing":null}',
        ),
        (["items.sku"], '{"items":[{"sku":"a"},{"sku":"b"}]}'),
        (["tags"], '{"tags":[]}'),
        (["tags.x"], ""),
        (["customer.id.x"], ""),
        (["absent", "customer.absent"], ""),
        ([[]], DATA),
    ],
)
def test_paths_keep_these_members_and_leave_out_the_rest(paths, sent):
    assert shape({"paths": paths}) == sent


@pytest.mark.parametrize("data", ["", "1", "null", '"customer"', "true"])
def test_of_data_without_members_paths_keep_nothing(data):
    assert shape({"paths": ["customer"]}, data) == ""


def test_an_array_at_the_top_is_gone_through_too():
    assert shape({"paths": ["a.b"]}, ' [{"a":{"b":1}},[{"a":{"b":[2]}}],{}] ') == '[{"a":{"b":1}},[{"a":{"b":[2]}}]]'


def test_a_name_with_a_dot_is_written_in_a_list():
    assert shape({"paths": [["a.b"]]}, '{"a.b":1,"a":{"b":2}}') == '{"a.b":1}'


def test_of_a_member_that_is_there_twice_the_last_one_counts_as_everywhere():
    assert shape({"paths": ["a"]}, '{"a":1,"a":2}') == '{"a":2}'


# --- templates


@pytest.mark.parametrize(
    ("template", "sent"),
    [
        ({"who": {"$path": "customer.id"}, "kind": "order"}, '{"kind":"order","who":1.00}'),
        ({"z": 1, "a": [True, None, 1.5, {"$path": "total"}]}, '{"a":[true,null,1.5,12345678901234567890123],"z":1}'),
        ({"skus": {"$path": "items.sku"}, "ns": {"$path": "items.n"}}, '{"ns":[1e2,2],"skus":["a","b"]}'),
        ({"a": {"$path": "absent"}, "b": [{"$path": "gone"}], "c": {"d": {"$path": "no"}}, "e": 1}, '{"e":1}'),
        ({"empty": {}, "none": []}, '{"empty":{},"none":[]}'),
        ({"all": {"$path": []}}, f'{{"all":{DATA}}}'),
        ({"$path": "nothing"}, "null"),
        ({"$path": "absent"}, ""),
    ],
)
def test_a_template_is_filled_with_parts_of_the_data(template, sent):
    assert shape({"template": template}) == sent


def test_of_an_event_without_data_what_stands_in_the_template_itself_is_sent():
    assert shape({"template": {"kind": "order", "id": {"$path": "id"}}}, "") == '{"kind":"order"}'


def test_a_shape_that_would_be_too_long_as_the_database_gives_it_back_is_refused():
    document = {"template": [1e308] * 500}
    parse(document)
    with pytest.raises(BadInput, match=f"at most {MAX_BYTES} are kept"):
        check(document)


@pytest.mark.parametrize(
    ("document", "field", "message"),
    [
        ({}, "payloadShape", "payloadShape is {}; write"),
        ({"paths": ["a"], "template": 1}, "payloadShape", "write"),
        ([], "payloadShape", "payloadShape is []"),
        ({"paths": []}, "payloadShape.paths", "1 to 200 paths"),
        ({"paths": ["a"] * 201}, "payloadShape.paths", "1 to 200 paths"),
        ({"paths": "a"}, "payloadShape.paths", 'is "a"'),
        ({"paths": ["a", "b..c"]}, "payloadShape.paths[1]", 'is "b..c"'),
        ({"paths": [""]}, "payloadShape.paths[0]", 'is ""'),
        ({"paths": [["a", 1]]}, "payloadShape.paths[0]", 'is ["a", 1]'),
        ({"paths": ["a" + ".a" * 20]}, "payloadShape.paths[0]", "has 21 names; a path has up to 20"),
        ({"template": {"a": [1, {"$path": 3}]}}, "payloadShape.template.a[1].$path", "is 3"),
        ({"template": {"a": {"$path": "x", "b": 1}}}, "payloadShape.template.a", "stands alone"),
        ({"template": {"a": {"$paht": "x"}}}, "payloadShape.template.a", "$paht"),
        (
            {"template": {"a": {"$path": "x"}, "b": {"$path": "x.y"}}},
            "payloadShape.template.b.$path",
            '"x.y" is sent by payloadShape.template.a.$path already',
        ),
        ({"template": {"a": {"$path": "x"}, "b": {"$path": "x"}}}, "payloadShape.template.b.$path", "once at most"),
        ({"template": "x" * MAX_BYTES}, "payloadShape", f"at most {MAX_BYTES} are kept"),
        ({"template": json.loads("[" * 21 + "]" * 21)}, "payloadShape", "nested over 20 deep"),
        ({"template": "\0"}, "payloadShape", "can't be stored"),
        ({"template": {"\ud800": 1}}, "payloadShape", "can't be stored"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused_with_the_place(document, field, message):
    with pytest.raises(BadInput) as refusal:
        parse(document)

    assert (refusal.value.field, message in refusal.value.message) == (field, True)


# --- for all data


def any_data(chance, levels):
    kind = chance.choice("oooaasnb") if levels else chance.choice("snb")
    if kind == "o":
        return {chance.choice("abcde"): any_data(chance, levels - 1) for _ in range(chance.randrange(5))}
    if kind == "a":
        return [any_data(chance, levels - 1) for _ in range(chance.randrange(4))]
    return {"s": 'é"\\', "n": 1e15, "b": None}[kind]


NOTHING = object()


def naively_kept(value, paths):
    """Return what the shape {"paths": paths} keeps of `value`, worked out value by value."""
    if [] in paths:
        return value
    if isinstance(value, list):
        kept = [naively_kept(element, paths) for element in value]
        return [element for element in kept if element is not NOTHING] or NOTHING
    if not isinstance(value, dict):
        return NOTHING
    kept = {name: naively_kept(value[name], [path[1:] for path in paths if path[0] == name]) for name in value}
    return {name: member for name, member in kept.items() if member is not NOTHING} or NOTHING


def any_template(chance, paths, levels=3):
    if paths and chance.random() < 0.5:
        return {"$path": paths.pop()}
    if not levels:
        return 1
    return {name: any_template(chance, paths, levels - 1) for name in chance.sample("xyz", chance.randrange(4))}


@pytest.mark.parametrize("seed", range(200))
def test_a_payload_is_json_the_same_each_time_and_no_longer_than_data_and_template(seed):
    chance = random.Random(seed)
    data = json.dumps(any_data(chance, 5), ensure_ascii=chance.random() < 0.5)
    paths = [".".join(pair) for pair in zip("abcde", chance.sample("abcde", 5), strict=True)]
    for document in ({"paths": chance.sample(paths, 3)}, {"template": any_template(chance, paths)}):
        sent = shape(document, data)
        stored = msgspec.json.encode(document, order="sorted").decode()  # as jsonb may give it back

        assert sent == shape(document, data) == shaped(stored, data)
        assert len(sent.encode()) <= len(data.encode()) + len(stored.encode()) + 2
        if "paths" in document:
            kept = naively_kept(json.loads(data), [path.split(".") for path in document["paths"]])
            assert (json.loads(sent) if sent else NOTHING) == kept
        elif sent:
            json.loads(sent)


@pytest.mark.parametrize(
    "data",
    [
        "[" + ",".join(["{}"] * 80_000) + "]",
        "[" + ",".join(['{"a":1,"b":2}'] * 18_000) + "]",
        "[" * 100 + "1" + ",1" * 120_000 + "]" * 100,
        "{" + ",".join(f'"k{number}":1' for number in range(20_000)) + "}",
    ],
    ids=["empty", "pairs", "deep", "wide"],
)
def test_two_hundred_parts_are_found_in_one_pass(data, monkeypatch):
    """Each part is read as often as it is deep, however many are looked for."""
    read = []
    for name in ("_members", "_elements"):
        decode = getattr(__import__("endpoints.shaping", fromlist=[name]), name)
        monkeypatch.setattr(
            f"endpoints.shaping.{name}", lambda text, decode=decode: read.append(len(text)) or decode(text)
        )

    shape({"template": [{"$path": f"k{number}"} for number in range(200)]}, data)

    assert sum(read) <= 101 * len(data) <= 101 * MAX_DATA_BYTES


# --- where it is used


ENDPOINT = "{ id payloadShape }"
CREATE_HOOK = f"""mutation ($shape: JSON) {{
    created: createWebhookEndpoint(name: "h", url: "https://a.example", payloadShape: $shape) {ENDPOINT}
}}"""
CREATE_SOCKET = f"""mutation ($shape: JSON) {{
    created: createWebSocketEndpoint(name: "s", payloadShape: $shape) {ENDPOINT}
}}"""
UPDATE = f"mutation ($id: ID!, $shape: JSON) {{ updateEndpoint(id: $id, payloadShape: $shape) {ENDPOINT} }}"


@pytest.mark.parametrize("create", [CREATE_HOOK, CREATE_SOCKET])
def test_an_endpoint_is_created_with_a_shape_that_can_be_changed_and_taken_away(graphql, create):
    created = graphql(create, shape={"paths": ["a"]})["data"]["created"]
    assert created["payloadShape"] == {"paths": ["a"]}

    for changed in ({"template": {"b": {"$path": "a"}}}, None):
        graphql(UPDATE, id=created["id"], shape=changed)
        assert Endpoint.objects.get().payload_shape == changed


def test_a_change_of_something_else_leaves_the_shape(graphql, webhook):
    webhook.change(payload_shape={"paths": ["a"]})

    graphql('mutation ($id: ID!) { updateEndpoint(id: $id, name: "other") { id } }', id=str(webhook.pk))

    assert Endpoint.objects.get().payload_shape == {"paths": ["a"]}


def test_a_bad_shape_changes_nothing(graphql, webhook):
    answer = graphql(UPDATE, id=str(webhook.pk), shape={"paths": [3]})

    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "payloadShape.paths[0]"}
    assert Endpoint.objects.get().payload_shape is None


def bodies(workspace, **data):
    record(workspace, **data)
    return [content(job)[0].decode() for job in claim(limit=9, per_endpoint=9, rooms={})]


@pytest.mark.parametrize("payload_format", ["STANDARD", "CLOUDEVENTS_STRUCTURED", "CLOUDEVENTS_BINARY"])
def test_webhooks_of_every_format_are_sent_the_shaped_data(workspace, webhook, payload_format):
    webhook.change(payload_format=payload_format, payload_shape={"paths": ["customer.id"]})

    (body,) = bodies(workspace, data=msgspec.Raw(DATA.encode()))

    data = body if payload_format == "CLOUDEVENTS_BINARY" else body.partition('"data":')[2][:-1]
    assert data == '{"customer":{"id":1.00}}'


def test_an_event_of_which_nothing_is_sent_goes_out_without_data(workspace, webhook):
    webhook.change(payload_shape={"paths": ["absent"]})

    (body,) = bodies(workspace)

    assert json.loads(body).keys() == {"id", "type", "date", "workspaceId"}


def test_without_a_shape_the_bytes_of_the_producer_are_sent(workspace, webhook):
    (body,) = bodies(workspace, data=msgspec.Raw(DATA.encode()))

    assert body.endswith(f'"data":{DATA}}}')


def test_a_template_is_sent_in_one_order_whichever_way_it_was_written(workspace, webhook):
    sent = set()
    for template in ({"zz": 1, "a": {"$path": "n"}}, {"a": {"$path": "n"}, "zz": 1}):
        webhook.change(payload_shape={"template": template})
        (body,) = bodies(workspace, data=msgspec.Raw(b'{"n":1}'))
        sent |= {body.partition('"data":')[2]}

    assert sent == {'{"a":1,"zz":1}}'}


def test_a_change_of_the_shape_takes_effect_with_the_next_attempt(workspace, webhook):
    webhook.change(payload_shape={"paths": ["a"]})
    (first,) = bodies(workspace, data=msgspec.Raw(b'{"a":1,"b":2}'))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routing_delivery SET state = 'PENDING', lease_token = NULL, due_at = now()")
    webhook.change(payload_shape={"paths": ["b"]})

    (job,) = claim(limit=9, per_endpoint=9, rooms={})

    assert (first.endswith('"data":{"a":1}}'), content(job)[0].endswith(b'"data":{"b":2}}'), job.number) == (
        True,
        True,
        2,
    )
