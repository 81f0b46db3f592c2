"""Signatures, the secrets behind them, and the headers that an endpoint adds."""

import ast
import re
import threading
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db.models.functions import Now
from standardwebhooks import Webhook, WebhookVerificationError

from endpoints.checks import HEADERS, HEADERS_LENGTH, RESERVED_HEADERS
from endpoints.errors import BadInput, Conflict, Limited
from endpoints.models import Endpoint, SigningKey
from endpoints.models.signing import MAX_OLD
from endpoints.vault import seal
from routing import worker
from routing.models import Delivery, Event
from routing.signing import own_headers, signatures
from routing.submissions import Submission, check
from routing.worker import Worker

ROOT = Path(__file__).resolve().parent.parent
OWN = "whsec_" + b64encode(bytes(range(32))).decode()
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def target(workspace, receiver):
    return Endpoint.create_webhook(workspace_id=workspace.pk, name="target", url=receiver.url)


def secrets_of(endpoint):
    """The valid v1 secrets in the order of a request's signatures."""
    keys = SigningKey.objects.valid().filter(endpoint=endpoint, scheme="v1")
    return [key.secret for key in sorted(keys, key=lambda key: (key.expires_at is None, key.expires_at), reverse=True)]


def public_key(whpk):
    return Ed25519PublicKey.from_public_bytes(b64decode(whpk.removeprefix("whpk_")))


def send_one(workspace, receiver):
    """Have a worker deliver one event; return the request as the receiver got it."""
    count = len(receiver.requests) + 1
    Event.record_all([check(Submission(type="order.paid", data=msgspec.Raw(b"1e2")), workspace.pk)])
    running = Worker(threads=1)
    thread = threading.Thread(target=running.run)
    thread.start()
    receiver.wait_for_count(count)
    running.stop()
    thread.join()
    return receiver.requests[-1]


def verifies(secret, request):
    try:
        Webhook(secret).verify(request.body, dict(request.headers))
    except WebhookVerificationError:
        return False
    return True


# --- the two schemes

V1 = ("v1", b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
V1A = (
    "v1a",
    b64decode("6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==")[:32],
    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
)


@pytest.mark.parametrize("vectors", [[V1], [V1A], [V1, V1A], [V1A, V1]], ids=["v1", "v1a", "both", "both, turned"])
def test_signatures_are_those_of_the_published_vectors_in_the_order_of_the_keys(vectors):
    keys = [(scheme, seal(key)) for scheme, key, _ in vectors]

    header = signatures(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert header == " ".join(signature for _, _, signature in vectors)


def test_another_published_vector_of_v1():
    keys = [("v1", seal(b64decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD")))]
    body = b'{"email":"test@example.com","username":"test_user"}'

    header = signatures(keys, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553, body)

    assert header == "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="


def test_a_public_key_is_that_of_the_published_vector(webhook):
    SigningKey.give(webhook, SigningKey.Scheme.V1A, V1A[1])

    assert webhook.public_key == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


UPDATE = """mutation($id: ID!, $wanted: Boolean) { updateEndpoint(id: $id, asymmetricSignatures: $wanted) { id } }"""
SECRET = "query($id: ID!) { endpointSecret(id: $id) { secret publicKey } }"


def test_a_public_key_is_there_as_long_as_it_is_wanted(graphql, webhook):
    seen = []
    for wanted in (None, True, True, False, True):
        graphql(UPDATE, id=str(webhook.pk), wanted=wanted)
        seen.append(graphql(SECRET, id=str(webhook.pk))["data"]["endpointSecret"]["publicKey"])

    assert re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=", seen[1])
    assert (seen[0], seen[2], seen[3]) == (None, seen[1], None)
    assert seen[4] not in seen[:4]


def test_a_webhook_is_created_with_a_public_key(graphql):
    create = 'mutation { createWebhookEndpoint(name: "n", url: "http://a.example", asymmetricSignatures: true) { id } }'
    graphql(create)

    assert sorted(SigningKey.objects.values_list("scheme", flat=True)) == ["v1", "v1a"]


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_a_request_is_signed_by_both_schemes_over_the_same_bytes(workspace, receiver, target):
    target.change(asymmetric_signatures=True)

    request = send_one(workspace, receiver)

    first, second = request.headers["webhook-signature"].split()
    assert verifies(target.secret, request)
    assert (first.partition(",")[0], second.partition(",")[0]) == ("v1", "v1a")
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    public_key(target.public_key).verify(b64decode(second.removeprefix("v1a,")), signed)


# --- rotation

ROTATE = """mutation($id: ID!, $secret: String, $overlap: Int) {
  rotateEndpointSecret(id: $id, secret: $secret, overlapSeconds: $overlap) { secret publicKey }
}"""


def test_a_rotation_gives_the_new_secret_and_keeps_the_old_one_for_a_day(graphql, webhook):
    old = webhook.secret

    new = graphql(ROTATE, id=str(webhook.pk))["data"]["rotateEndpointSecret"]["secret"]

    assert secrets_of(webhook) == [new, old]
    assert graphql(SECRET, id=str(webhook.pk))["data"]["endpointSecret"]["secret"] == new
    ends = webhook.signing_keys.exclude(expires_at=None).get().expires_at - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < ends <= timedelta(days=1)


def test_a_rotation_takes_a_secret_of_ones_own(graphql, webhook):
    answer = graphql(ROTATE, id=str(webhook.pk), secret=OWN)

    assert answer == {"data": {"rotateEndpointSecret": {"secret": OWN, "publicKey": None}}}
    assert webhook.secret == OWN


def test_a_rotation_renews_the_public_key_too(webhook):
    webhook.change(asymmetric_signatures=True)
    old = webhook.public_key

    SigningKey.rotate(webhook)

    assert webhook.public_key not in (old, None)
    assert SigningKey.objects.valid().filter(scheme="v1a").count() == 2


def test_an_overlap_ends_by_the_databases_clock(webhook):
    old = webhook.secret
    SigningKey.rotate(webhook, overlap_s=60)
    webhook.signing_keys.exclude(expires_at=None).update(expires_at=Now() + timedelta(seconds=1))
    assert secrets_of(webhook) == [webhook.secret, old]

    webhook.signing_keys.exclude(expires_at=None).update(expires_at=Now())

    assert secrets_of(webhook) == [webhook.secret]


def test_without_an_overlap_all_old_secrets_end_at_once(webhook):
    SigningKey.rotate(webhook)
    SigningKey.rotate(webhook)

    SigningKey.rotate(webhook, overlap_s=0)

    assert SigningKey.objects.count() == 1


def test_no_more_than_five_old_secrets_are_valid(webhook):
    for _ in range(MAX_OLD):
        SigningKey.rotate(webhook)
    before = secrets_of(webhook)

    with pytest.raises(Limited, match="5 old secrets are still valid, the first until 20.*Z; at most 5 may be"):
        SigningKey.rotate(webhook)
    assert secrets_of(webhook) == before

    first_to_end = webhook.signing_keys.exclude(expires_at=None).earliest("expires_at")
    webhook.signing_keys.filter(pk=first_to_end.pk).update(expires_at=Now())
    SigningKey.rotate(webhook)

    assert len(secrets_of(webhook)) == 1 + MAX_OLD
    assert SigningKey.objects.count() == 1 + MAX_OLD  # what has ended is deleted


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"secret": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "secret", "does not begin with whsec_"),
        ({"secret": "whsec_"}, "secret", "has 0 bytes"),
        ({"secret": "whsec_" + b64encode(b"x" * 23).decode()}, "secret", "has 23 bytes"),
        ({"secret": "whsec_" + b64encode(b"x" * 65).decode()}, "secret", "has 65 bytes"),
        ({"secret": "whsec_" + "é" * 40}, "secret", "is not base64"),
        ({"secret": "whsec_" + "a" * 33}, "secret", "is not base64"),
        ({"secret": "whsec_" + "-_" * 20}, "secret", "is not base64"),
        ({"overlap_s": -1}, "overlapSeconds", "is -1; give 0 to 2592000"),
        ({"overlap_s": 30 * 86_400 + 1}, "overlapSeconds", "is 2592001"),
    ],
)
def test_a_rotation_that_makes_no_sense_is_refused(webhook, given, field, says):
    before = list(SigningKey.objects.values())

    with pytest.raises(BadInput, match=says) as refusal:
        SigningKey.rotate(webhook, **given)

    assert refusal.value.field == field
    assert list(SigningKey.objects.values()) == before


def test_what_a_refusal_says_does_not_hold_the_secret(webhook):
    for secret in ("whsec_planted!", "planted", "whsec_" + b64encode(b"planted").decode()):
        with pytest.raises(BadInput) as refusal:
            SigningKey.rotate(webhook, secret=secret)

        assert secret.removeprefix("whsec_") not in refusal.value.message


def test_a_websocket_has_no_secret_to_rotate(graphql, web_socket):
    answer = graphql(ROTATE, id=str(web_socket.pk))

    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "id"}
    assert not SigningKey.objects.exists()


def test_a_secret_of_another_endpoint_is_refused_and_nothing_is_rotated(webhook, foreign):
    SigningKey.rotate(foreign, secret=OWN)
    before = list(SigningKey.objects.values())

    with pytest.raises(Conflict, match="in use") as refusal:
        SigningKey.rotate(webhook, secret=OWN)

    assert refusal.value.field == "secret"
    assert list(SigningKey.objects.values()) == before


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_during_a_rotation_receivers_verify_with_the_old_and_the_new_secret_and_afterwards_with_the_new(
    workspace, receiver, target
):
    oldest = target.secret
    SigningKey.rotate(target)
    old = target.secret
    SigningKey.rotate(target)

    overlapping = send_one(workspace, receiver)
    target.signing_keys.update(expires_at=Now())
    SigningKey.give(target, SigningKey.Scheme.V1)
    later = send_one(workspace, receiver)

    current = overlapping.headers["webhook-signature"].split()[0]
    assert [verifies(secret, overlapping) for secret in (oldest, old)] == [True, True]
    assert [verifies(secret, later) for secret in (oldest, old, target.secret)] == [False, False, True]
    assert len(overlapping.headers["webhook-signature"].split()) == 3
    assert len(later.headers["webhook-signature"].split()) == 1
    assert current not in later.headers["webhook-signature"]


def test_a_deleted_endpoint_leaves_no_secret(webhook):
    webhook.change(headers={"Authorization": "Bearer a"})

    Endpoint.remove([webhook])

    assert not SigningKey.objects.exists()
    assert Endpoint.objects.get().headers == {}


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
@pytest.mark.parametrize("skew", [-TEN_MINUTES, TEN_MINUTES])
def test_a_timestamp_is_of_the_databases_clock_however_far_the_workers_is_off(
    workspace, receiver, target, monkeypatch, skew
):
    claim = worker.claim

    def claim_by_another_clock(**limits):
        return [job._replace(claimed_at=job.claimed_at + skew) for job in claim(**limits)]

    monkeypatch.setattr(worker, "claim", claim_by_another_clock)

    request = send_one(workspace, receiver)

    told = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    assert abs(told - (datetime.now(UTC) + skew)) < timedelta(seconds=30)
    assert Delivery.objects.get().attempts_made == 1


# --- headers of an endpoint's own

HEADERS_OF = "mutation($id: ID!, $headers: JSON) { updateEndpoint(id: $id, headers: $headers) { headerNames } }"


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_an_endpoints_own_headers_are_sent(workspace, receiver, target):
    target.change(headers={"Authorization": "Bearer s3cret", "X-Tenant": "a b"})

    request = send_one(workspace, receiver)

    assert (request.headers["authorization"], request.headers["x-tenant"]) == ("Bearer s3cret", "a b")
    assert verifies(target.secret, request)


def test_given_headers_replace_the_earlier_ones_and_their_values_are_not_shown(graphql, webhook):
    shown = [
        graphql(HEADERS_OF, id=str(webhook.pk), headers=headers)["data"]["updateEndpoint"]
        for headers in ({"X-B": "planted", "Authorization": "planted"}, None, {"x-c": "planted"}, {})
    ]

    names = [["Authorization", "X-B"], ["Authorization", "X-B"], ["x-c"], []]
    assert shown == [{"headerNames": expected} for expected in names]


def test_a_webhook_is_created_with_headers(graphql):
    create = """mutation($headers: JSON) {
      createWebhookEndpoint(name: "n", url: "http://a.example", headers: $headers) { headerNames }
    }"""
    answer = graphql(create, headers={"X-A": "planted"})

    assert answer == {"data": {"createWebhookEndpoint": {"headerNames": ["X-A"]}}}
    assert own_headers(Endpoint.objects.get().headers) == {"X-A": "planted"}


@pytest.mark.parametrize(
    "headers",
    [
        *({name: "chunked"} for name in RESERVED_HEADERS),
        *({name: "1"} for name in ("Webhook-Signature", "WEBHOOK-ID", "svix-id", "Proxy-Authorization", "CE-Type")),
        *({name: "1"} for name in ("Content-Length", "content-type", "Content-Encoding", "Transfer-Encoding", "HOST")),
        {"Connection": "webhook-signature"},
        *({name: "1"} for name in ("", "X Y", "X:", "X\0", "X\r\nY", "X\n", "Ü", "x" * 101)),
        *({"X-A": value} for value in ("", " a", "a ", "a\0", "a\r\nX-B: b", "a\n", "\ta", "é", "日", "\x7f", "\x1b")),
        *({"X-A": value} for value in (None, 1, True, ["a"], {"a": "b"})),
        {"X-A": "1", "x-a": "2"},
        {f"X-{n}": "1" for n in range(HEADERS + 1)},
        {"X-A": "x" * HEADERS_LENGTH},
        [],
        "X-A: 1",
        1,
    ],
    ids=ascii,
)
def test_a_header_that_is_reserved_or_can_not_be_sent_is_refused(graphql, webhook, headers):
    answer = graphql(HEADERS_OF, id=str(webhook.pk), headers=headers)

    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "headers"}
    assert Endpoint.objects.get().headers == {}


def test_as_many_and_as_long_headers_as_are_allowed_are_taken(webhook):
    names = [f"X-{n:02}" for n in range(HEADERS)]
    rest = HEADERS_LENGTH - sum(map(len, names)) - (HEADERS - 1)
    headers = dict.fromkeys(names, "1") | {names[0]: "x" * rest}

    webhook.change(headers=headers)

    assert own_headers(webhook.headers) == headers


def test_what_a_refusal_says_does_not_hold_the_value(webhook):
    with pytest.raises(BadInput) as refusal:
        webhook.change(headers={"X-A": "s3cret\n"})

    assert "s3cret" not in refusal.value.message


def test_a_websocket_adds_no_headers(web_socket):
    with pytest.raises(BadInput, match="has no headers"):
        web_socket.change(headers={"X-A": "1"})


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_what_was_written_past_the_api_does_not_replace_what_the_service_says(workspace, receiver, target):
    forged = {"Webhook-Signature": "v1,forged", "Content-Length": "1", "transfer-encoding": "chunked", "X-A": "1"}
    target.headers = {name: seal(value.encode()).decode() for name, value in forged.items()}
    target.save()

    request = send_one(workspace, receiver)

    assert verifies(target.secret, request)
    assert request.headers.get_all("webhook-signature") == [request.headers["webhook-signature"]]
    assert [request.headers[name] for name in ("content-length", "transfer-encoding", "x-a")] == [
        str(len(request.body)),
        None,
        "1",
    ]


# --- comparing

SECRET_NAMES = re.compile(r"secret|signature|password|fingerprint", re.IGNORECASE)


def compared(tree):
    """What ==, !=, in and not in are used on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops
        ):
            operands = (node.left, *node.comparators)
            yield from (ast.unparse(operand) for operand in operands if not isinstance(operand, ast.Constant))  # a name


def test_the_search_for_bad_comparisons_finds_one():
    bad = ["given == secret", "self._signature != x", "a in signatures(keys)", "endpoint.secret == s"]

    assert [any(map(SECRET_NAMES.search, compared(ast.parse(line)))) for line in bad] == [True] * 4


def test_secrets_and_signatures_are_compared_in_constant_time_alone():
    comparisons = [
        f"{path.relative_to(ROOT)}: {operand}"
        for folder in ("endpoints", "routing", "event_service")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for operand in compared(ast.parse(path.read_text()))
        if SECRET_NAMES.search(operand)
    ]

    assert comparisons == []
