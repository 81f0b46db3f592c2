"""The settings of how a webhook is sent to, as people write them."""

import pytest
from django.forms import modelform_factory

from endpoints.admin import EndpointForm
from endpoints.errors import BadInput
from endpoints.models import Endpoint
from endpoints.policy import RetryPolicy, as_columns

HOUR = 3600
DEFAULT = (5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)


def test_the_default_is_the_schedule_of_standard_webhooks():
    assert RetryPolicy.parse({}) == RetryPolicy(DEFAULT, 0.2, None, 15, frozenset())


def test_every_member_counts():
    policy = RetryPolicy.parse(
        {"schedule": [1, 2.5], "jitter": 0, "maxAgeSeconds": 60, "deadlineSeconds": 3, "finalStatuses": [400, 404]}
    )

    assert policy == RetryPolicy((1, 2.5), 0, 60, 3, frozenset({400, 404}))


def test_exponential_waits_grow_up_to_the_longest():
    policy = RetryPolicy.parse({"exponential": {"first": 2, "factor": 3, "longest": 20, "attempts": 5}})

    assert policy.waits_s == (2, 6, 18, 20)


def test_an_empty_schedule_is_a_single_attempt():
    assert RetryPolicy.parse({"schedule": []}).waits_s == ()


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ([], "retryPolicy is []: expected object, got array."),
        ({"speed": 1}, "retryPolicy is {'speed': 1}: object contains unknown field speed."),
        ({"schedule": [5, -1]}, "retryPolicy.schedule[1] is -1: expected float >= 0.0."),
        ({"schedule": ["5"]}, "retryPolicy.schedule[0] is '5': expected float, got str."),
        ({"schedule": [8 * 86400]}, "retryPolicy.schedule[0] is 691200: expected float <= 604800.0."),
        (
            {"schedule": [1], "exponential": {"first": 1, "attempts": 2}},
            "retryPolicy has both schedule and exponential; give one of the two.",
        ),
        (
            {"exponential": {"first": 1}},
            "retryPolicy.exponential is {'first': 1}: object missing required field attempts.",
        ),
        (
            {"exponential": {"first": 1, "attempts": 51}},
            "retryPolicy.exponential.attempts is 51: expected int <= 50.",
        ),
        ({"jitter": 1.1}, "retryPolicy.jitter is 1.1: expected float <= 1.0."),
        ({"maxAgeSeconds": 0}, "retryPolicy.maxAgeSeconds is 0: expected float >= 1.0."),
        ({"maxAgeSeconds": float("nan")}, "retryPolicy.maxAgeSeconds is nan: expected float >= 1.0."),
        ({"deadlineSeconds": 31}, "retryPolicy.deadlineSeconds is 31: expected float <= 30.0."),
        ({"deadlineSeconds": True}, "retryPolicy.deadlineSeconds is True: expected float, got bool."),
        ({"finalStatuses": [404, 500]}, "retryPolicy.finalStatuses[1] is 500: expected int <= 499."),
        ({"finalStatuses": [399]}, "retryPolicy.finalStatuses[0] is 399: expected int >= 400."),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_the_place_the_value_and_what_is_right(document, refusal):
    with pytest.raises(BadInput) as refused:
        RetryPolicy.parse(document)

    assert refused.value.message == refusal
    assert refused.value.field == refusal.split()[0]


def test_a_stored_policy_that_nobody_can_read_counts_as_the_default(caplog):
    assert RetryPolicy.kept({"jitter": "much"}) == RetryPolicy()
    assert "retryPolicy.jitter is 'much'" in caplog.text


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"max_in_flight": 0}, "maxInFlight"),
        ({"max_in_flight": 1001}, "maxInFlight"),
        ({"rate_limit": {"count": 0, "period_seconds": 1}}, "rateLimit.count"),
        ({"rate_limit": {"count": 1, "period_seconds": 86_401}}, "rateLimit.periodSeconds"),
        ({"retry_policy": {"jitter": 2}}, "retryPolicy.jitter"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(settings, field):
    with pytest.raises(BadInput) as refused:
        as_columns(settings)

    assert refused.value.field == field


# --- over GraphQL

SETTINGS = """
    retryPolicy maxInFlight rateLimit { count periodSeconds } ordering payloadFormat
"""
CHOSEN = """
    retryPolicy: {schedule: [1, 60], jitter: 0.5, maxAgeSeconds: 3600, deadlineSeconds: 5, finalStatuses: [404]}
    maxInFlight: 4
    rateLimit: {count: 10, periodSeconds: 60}
    ordering: FIFO_BLOCK
    payloadFormat: CLOUDEVENTS_BINARY
"""
SHOWN = {
    "retryPolicy": {
        "schedule": [1, 60],
        "jitter": 0.5,
        "maxAgeSeconds": 3600,
        "deadlineSeconds": 5,
        "finalStatuses": [404],
    },
    "maxInFlight": 4,
    "rateLimit": {"count": 10, "periodSeconds": 60},
    "ordering": "FIFO_BLOCK",
    "payloadFormat": "CLOUDEVENTS_BINARY",
}
UNSET = {
    "retryPolicy": {},
    "maxInFlight": None,
    "rateLimit": None,
    "ordering": "UNORDERED",
    "payloadFormat": "STANDARD",
}


def test_a_webhook_is_made_with_settings_and_shows_them(graphql):
    answer = graphql(
        f'mutation {{ createWebhookEndpoint(name: "n", url: "https://example.com/", {CHOSEN}) {{ {SETTINGS} }} }}'
    )

    assert answer == {"data": {"createWebhookEndpoint": SHOWN}}


def test_a_webhook_without_settings_shows_the_defaults(graphql, webhook):
    answer = graphql(f"{{ endpoints {{ collectionItems {{ {SETTINGS} }} }} }}")

    assert answer["data"]["endpoints"]["collectionItems"] == [UNSET]


def test_an_update_changes_what_is_given_and_null_brings_the_default_back(graphql, webhook):
    def update(arguments):
        answer = graphql(f'mutation {{ updateEndpoint(id: "{webhook.pk}", {arguments}) {{ {SETTINGS} }} }}')
        return answer["data"]["updateEndpoint"]

    assert update(CHOSEN) == SHOWN
    assert update("maxInFlight: 5") == SHOWN | {"maxInFlight": 5}
    assert update("retryPolicy: null, rateLimit: null") == UNSET | {
        "maxInFlight": 5,
        "ordering": "FIFO_BLOCK",
        "payloadFormat": "CLOUDEVENTS_BINARY",
    }
    assert update("maxInFlight: null, ordering: null, payloadFormat: null") == UNSET


def test_a_bad_setting_changes_nothing(graphql, webhook):
    answer = graphql(
        f'mutation {{ updateEndpoint(id: "{webhook.pk}", name: "new", retryPolicy: {{jitter: 2}}) {{ id }} }}'
    )

    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "retryPolicy.jitter"}
    assert Endpoint.objects.get().name == "MyHook"


@pytest.mark.parametrize("setting", ["retryPolicy: {}", "maxInFlight: 1", "ordering: FIFO_SKIP", "rateLimit: null"])
def test_a_websocket_has_no_such_settings(graphql, web_socket, setting):
    answer = graphql(f'mutation {{ updateEndpoint(id: "{web_socket.pk}", {setting}) {{ id }} }}')

    field = setting.split(":")[0]
    assert answer["errors"][0]["message"] == f"A websocket endpoint has no {field}."
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": field}


# --- in the admin


def admin_errors(endpoint, **changed):
    form = modelform_factory(Endpoint, form=EndpointForm, exclude=["workspace", "type", "headers", "event_filters"])
    kept = {name: getattr(endpoint, name) for name in form.base_fields}
    shown = {name: value for name, value in kept.items() if value not in (None, {})}
    return form(instance=endpoint, data=shown | changed).errors


def test_the_admin_takes_good_settings(webhook):
    good = {"retry_policy": '{"schedule": [1]}', "max_in_flight": 5, "rate_limit": 9, "rate_period_s": 60}

    assert admin_errors(webhook, **good, ordering="FIFO_SKIP", payload_format="CLOUDEVENTS_BINARY") == {}
    assert admin_errors(webhook) == {}


@pytest.mark.parametrize(
    ("field", "value", "refusal"),
    [
        ("retry_policy", '{"jitter": 2}', "retryPolicy.jitter is 2: expected float <= 1.0."),
        ("max_in_flight", 1001, "maxInFlight is 1001; it is between 1 and 1000."),
        ("rate_limit", 1_000_001, "rateLimit.count is 1000001; it is between 1 and 1000000."),
        ("rate_period_s", 86_401, "rateLimit.periodSeconds is 86401; it is between 1 and 86400."),
    ],
)
def test_the_admin_refuses_what_the_api_refuses_in_the_same_words(webhook, field, value, refusal):
    assert admin_errors(webhook, **{field: value}) == {field: [refusal]}


@pytest.mark.parametrize(
    ("field", "value"),
    [("retry_policy", '{"jitter": 0}'), ("max_in_flight", 1), ("rate_limit", 1), ("ordering", "FIFO_BLOCK")],
)
def test_the_admin_gives_a_websocket_no_such_settings(web_socket, field, value):
    assert list(admin_errors(web_socket, **{field: value})) == [field]
