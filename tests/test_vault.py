"""Secrets at rest: what a dump of the database tells, and changing the key that seals them."""

import threading
from contextlib import contextmanager
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.checks import Error, Warning
from django.core.management import CommandError, call_command
from django.db import connection
from standardwebhooks import Webhook

from endpoints.models import ApiKey, Endpoint, Scope, SigningKey
from endpoints.sealed import check_keys, check_secrets
from endpoints.vault import Unreadable, fingerprint, seal, unseal
from routing.models import Attempt, Delivery, Event
from routing.queue import claim
from routing.signing import own_headers
from routing.submissions import Submission, check
from routing.webhooks import deliver
from routing.worker import Worker

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def make_webhooks(workspace, count, url="https://example.com/"):
    return [
        Endpoint.create_webhook(
            workspace_id=workspace.pk,
            name="hook",
            url=url,
            headers={"Authorization": f"Bearer planted-{n}"},
            asymmetric_signatures=True,
        )
        for n in range(count)
    ]


@contextmanager
def working():
    running = Worker(threads=1)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield
    finally:
        running.stop()
        thread.join()


def opened():
    """Every secret that is stored, in clear."""
    keys = [unseal(bytes(key.sealed)) for key in SigningKey.objects.order_by("pk")]
    return keys, [own_headers(endpoint.headers) for endpoint in Endpoint.objects.order_by("pk")]


def reseal():
    out = StringIO()
    call_command("reseal", stdout=out)
    return int(out.getvalue().split()[0])


def checked():
    return [(type(message), message.id) for message in check_secrets(databases=["default"])]


def test_what_is_sealed_is_opened_by_the_same_installation_alone(settings):
    settings.SEALING_KEYS = [OLD]
    sealed = seal(b"planted")
    assert unseal(sealed) == b"planted"

    settings.SEALING_KEYS = [NEW]

    with pytest.raises(Unreadable, match="EVENT_SERVICE_SEALING_KEYS"):
        unseal(sealed)


def test_the_same_secret_is_sealed_differently_each_time():
    assert seal(b"planted") != seal(b"planted")


def test_a_fingerprint_can_not_be_made_without_the_installations_key(settings):
    ours = fingerprint(b"planted")

    settings.SECRET_KEY = "another"

    assert fingerprint(b"planted") != ours


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_a_dump_of_the_database_tells_no_secret_and_no_key(workspace):
    webhooks = make_webhooks(workspace, 20)
    for webhook in webhooks:
        SigningKey.rotate(webhook)
    keys = [ApiKey.issue(workspace=workspace, name="n", scopes=Scope.values)[1] for _ in range(20)]
    private = [unseal(bytes(key.sealed)) for key in SigningKey.objects.all()]

    dump = dumped()

    assert dump.count(b"hook") >= 20
    told = {webhook.secret.removeprefix("whsec_").encode() for webhook in webhooks}
    told |= {key.encode() for key in keys} | {key.hex().encode() for key in private} | set(private)
    told |= {b"planted-"} | {secret.hex().encode() for secret in list(told)}
    assert [secret for secret in told if secret in dump] == []


def dumped():
    """All rows of all tables, as pg_dump writes them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        tables = [name for (name,) in cursor.fetchall()]
        found = []
        for table in tables:
            with cursor.copy(f'COPY (SELECT * FROM "{table}") TO STDOUT') as rows:
                found += [bytes(row) for row in rows]
    return b"".join(found)


@pytest.mark.django_db
def test_a_sealing_key_is_changed_without_losing_a_secret(settings, workspace):
    settings.SEALING_KEYS = [OLD]
    make_webhooks(workspace, 3)
    before = opened()

    settings.SEALING_KEYS = [NEW, OLD]
    assert opened() == before
    assert reseal() == 9  # two keys and a header of each
    assert reseal() == 0

    settings.SEALING_KEYS = [NEW]
    assert opened() == before
    assert checked() == []


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_no_delivery_fails_while_the_sealing_key_is_changed(settings, workspace, receiver):
    settings.SEALING_KEYS = [OLD]
    (target,) = make_webhooks(workspace, 1, receiver.url)
    steps = [([OLD], None), ([NEW, OLD], None), ([NEW, OLD], reseal), ([NEW], None)]

    with working():
        for count, (keys, command) in enumerate(steps, start=1):
            settings.SEALING_KEYS = keys
            if command:
                command()
            Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
            receiver.wait_for_count(count)

    for request in receiver.requests:
        Webhook(target.secret).verify(request.body, dict(request.headers))
        assert request.headers["authorization"] == "Bearer planted-0"
    assert set(Attempt.objects.values_list("error", flat=True)) == {""}
    assert len(receiver.requests) == Delivery.objects.filter(state="DELIVERED").count() == 4


@pytest.mark.django_db
def test_resealing_names_what_no_key_opens_and_does_the_rest(settings, workspace):
    settings.SEALING_KEYS = [OLD]
    (lost,) = make_webhooks(workspace, 1)
    settings.SEALING_KEYS = [NEW]
    make_webhooks(workspace, 1)
    newest = Fernet.generate_key().decode()
    settings.SEALING_KEYS = [newest, NEW]
    before = list(SigningKey.objects.filter(endpoint=lost).values())

    with pytest.raises(CommandError, match=f"secrets of 1 endpoints: {lost.pk}. Put back the key"):
        call_command("reseal", stdout=StringIO())

    settings.SEALING_KEYS = [newest]
    assert checked() == [(Warning, "endpoints.W001")]
    assert list(SigningKey.objects.filter(endpoint=lost).values()) == before


@pytest.mark.django_db
def test_a_check_says_what_the_keys_do_not_open(settings, workspace):
    settings.SEALING_KEYS = [OLD]
    assert checked() == []
    (webhook,) = make_webhooks(workspace, 1)
    assert checked() == []

    settings.SEALING_KEYS = [NEW]
    assert checked() == [(Error, "endpoints.E002")]
    (message,) = check_secrets(databases=["default"])
    assert str(webhook.pk) in message.msg
    assert "Put back the key" in message.hint

    SigningKey.rotate(webhook, overlap_s=0)
    assert checked() == [(Warning, "endpoints.W001")]  # its headers are still sealed with the old key
    webhook.change(headers={})
    assert checked() == []


def test_a_check_says_which_key_is_none_without_repeating_it(settings):
    settings.SEALING_KEYS = [OLD, "c2hvcnQ=", "not base64"]

    assert [message.msg.split(" is ")[0] for message in check_keys()] == [
        "Key 2 of EVENT_SERVICE_SEALING_KEYS",
        "Key 3 of EVENT_SERVICE_SEALING_KEYS",
    ]
    assert check_secrets(databases=["default"]) == []


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_what_can_not_be_signed_is_not_sent_and_says_so_in_a_class_of_its_own(settings, workspace, receiver, door):
    settings.SEALING_KEYS = [OLD]
    make_webhooks(workspace, 1, receiver.url)
    settings.SEALING_KEYS = [NEW]
    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
    (job,) = claim(limit=1, per_endpoint=1, rooms={})

    outcome = deliver(job, door, now=job.claimed_at)

    assert (outcome.status_code, outcome.error) == (None, "SECRET_UNREADABLE")
    assert receiver.requests == []


@pytest.mark.django_db(transaction=True, available_apps=["endpoints", "routing"])
def test_nothing_goes_out_unsigned(workspace, receiver, door):
    make_webhooks(workspace, 1, receiver.url)
    SigningKey.objects.all().delete()
    Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
    (job,) = claim(limit=1, per_endpoint=1, rooms={})

    assert deliver(job, door, now=job.claimed_at).error == "SECRET_UNREADABLE"
    assert receiver.requests == []
