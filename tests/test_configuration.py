"""The configuration: what the database itself does not let happen, the version that it raises, and keys."""

import hashlib
import re
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from endpoints.auth import Grant, authenticate, presented_key
from endpoints.errors import BadInput, Forbidden, Unauthenticated
from endpoints.models import ApiKey, Endpoint, EventFilter, FilterLink, Scope, Workspace
from routing.models import Event
from routing.submissions import Submission, check

FOREIGN_KEY, UNIQUE, CHECK = "23503", "23505", "23514"


def sql(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@contextmanager
def refused(sqlstate, constraint):
    """Expect that the database refuses what is done inside, by the constraint of that name."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        yield
    error = refusal.value.__cause__
    assert (error.sqlstate, error.diag.constraint_name) == (sqlstate, constraint)


def make_filter(workspace, **fields):
    return EventFilter.create(workspace_id=workspace.pk, **{"name": "All", "definition": {"pattern": {}}, **fields})


def record(workspace):
    (recorded,) = Event.record_all([check(Submission(type="order.paid"), workspace.pk)])
    return recorded.id


# --- what joins two workspaces can't be written

LINK = "INSERT INTO endpoints_filterlink (workspace_id, endpoint_id, event_filter_id) VALUES (%s, %s, %s)"
DELIVERY = """
INSERT INTO routing_delivery (id, workspace_id, event_id, endpoint_id, seq, state, reason, attempts_made)
VALUES (%s, %s, %s, %s, 1000, 'PENDING', '', 0)
"""
ATTEMPT = """
INSERT INTO routing_attempt (id, workspace_id, delivery_id, number, started_at, error, error_detail, response_body)
SELECT %s, %s, id, 1, now(), '', '', '' FROM routing_delivery
"""
SIGNING_KEY = """
INSERT INTO endpoints_signingkey (id, workspace_id, endpoint_id, scheme, fingerprint, sealed)
VALUES (%s, %s, %s, %s, %s, '')
"""


def test_a_filter_can_not_be_linked_to_a_foreign_endpoint(workspace, foreign):
    with refused(FOREIGN_KEY, "filter_link_endpoint_in_workspace"):
        sql(LINK, workspace.pk, foreign.pk, make_filter(workspace).pk)


def test_an_endpoint_can_not_be_linked_to_a_foreign_filter(workspace, webhook, foreign_workspace):
    with refused(FOREIGN_KEY, "filter_link_event_filter_in_workspace"):
        sql(LINK, workspace.pk, webhook.pk, make_filter(foreign_workspace).pk)


def test_an_event_can_not_be_owed_to_a_foreign_endpoint(workspace, foreign):
    with refused(FOREIGN_KEY, "delivery_endpoint_in_workspace"):
        sql(DELIVERY, uuid4(), workspace.pk, record(workspace), foreign.pk)


def test_an_endpoint_can_not_be_owed_a_foreign_event(workspace, foreign):
    with refused(FOREIGN_KEY, "delivery_event_in_workspace"):
        sql(DELIVERY, uuid4(), foreign.workspace_id, record(workspace), foreign.pk)


def test_an_attempt_can_not_belong_to_a_foreign_delivery(workspace, webhook, foreign_workspace):
    record(workspace)

    with refused(FOREIGN_KEY, "attempt_delivery_in_workspace"):
        sql(ATTEMPT, uuid7(), foreign_workspace.pk)


def test_a_signing_key_can_not_belong_to_a_foreign_endpoint(workspace, foreign):
    with refused(FOREIGN_KEY, "signing_key_endpoint_in_workspace"):
        sql(SIGNING_KEY, uuid4(), workspace.pk, foreign.pk, "v1a", b"fingerprint")


@pytest.mark.parametrize(
    ("table", "constraint"),
    [("endpoints_endpoint", "delivery_endpoint_in_workspace"), ("routing_event", "delivery_event_in_workspace")],
)
def test_what_deliveries_refer_to_can_not_move_to_another_workspace(
    workspace, web_socket, foreign_workspace, table, constraint
):
    record(workspace)

    with refused(FOREIGN_KEY, constraint):
        sql(f"UPDATE {table} SET workspace_id = %s", foreign_workspace.pk)


# --- a row is whole, or is not


@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ("name = ''", "endpoint_has_name"),
        ("url = ''", "endpoint_fits_its_type"),
        ("url = 'file:///etc/passwd'", "endpoint_fits_its_type"),
        ("method = 'TRACE'", "endpoint_fits_its_type"),
        ("open_access = true", "endpoint_fits_its_type"),
        ("type = 'WEB_SOCKET'", "endpoint_fits_its_type"),
        ("type = 'PIGEON'", "endpoint_fits_its_type"),
        ("state = 'DISABLED'", "endpoint_state_has_reason"),
        ("state = 'ASLEEP'", "endpoint_state_has_reason"),
    ],
)
def test_a_webhook_is_whole(webhook, changed, constraint):
    with refused(CHECK, constraint):
        sql(f"UPDATE endpoints_endpoint SET {changed}")


@pytest.mark.parametrize("changed", ["url = 'https://example.com/'", "method = 'POST'", """headers = '{"A": "b"}'"""])
def test_a_websocket_has_nothing_of_a_webhook(web_socket, changed):
    with refused(CHECK, "endpoint_fits_its_type"):
        sql(f"UPDATE endpoints_endpoint SET {changed}")


@pytest.mark.parametrize(
    ("changed", "constraint"),
    [
        ("state = 'LOST'", "delivery_state_and_times_agree"),
        ("state = 'SENDING'", "delivery_state_and_times_agree"),
        ("state = 'DELIVERED'", "delivery_state_and_times_agree"),
        ("state = 'DELIVERED', settled_at = now()", "delivery_state_and_times_agree"),
        ("state = 'DELIVERED', due_at = NULL", "delivery_state_and_times_agree"),
        ("settled_at = now()", "delivery_state_and_times_agree"),
        ("lease_token = gen_random_uuid()", "delivery_state_and_times_agree"),
        ("state = 'SKIPPED', due_at = NULL, settled_at = now()", "delivery_end_has_reason"),
        ("state = 'CANCELLED', due_at = NULL, settled_at = now()", "delivery_end_has_reason"),
        ("state = 'EXHAUSTED', due_at = NULL, settled_at = now()", "delivery_end_has_reason"),
    ],
)
def test_a_deliverys_state_agrees_with_its_times_and_an_end_has_a_reason(workspace, webhook, changed, constraint):
    record(workspace)

    with refused(CHECK, constraint):
        sql(f"UPDATE routing_delivery SET {changed}")


def test_there_is_one_delivery_of_an_event_to_an_endpoint(workspace, webhook):
    event_id = record(workspace)

    with refused(UNIQUE, "delivery_once"):
        sql(DELIVERY, uuid4(), workspace.pk, event_id, webhook.pk)


def test_a_link_is_there_once_however_often_it_is_made(workspace, webhook):
    event_filter = make_filter(workspace)

    FilterLink.link([webhook], event_filter)
    FilterLink.link([webhook], event_filter)

    assert FilterLink.objects.count() == 1
    with refused(UNIQUE, "filter_link_once"):
        sql(LINK, workspace.pk, webhook.pk, event_filter.pk)


@pytest.mark.parametrize(
    ("scheme", "fingerprint", "sqlstate", "constraint"),
    [
        ("v1", b"new", UNIQUE, "signing_key_current_once"),
        ("v1a", b"known", UNIQUE, "signing_key_of_one_endpoint"),
        ("v2", b"new", CHECK, "signing_key_has_known_scheme"),
    ],
)
def test_an_endpoint_has_one_current_key_of_a_known_scheme_which_no_other_has(
    webhook, foreign, scheme, fingerprint, sqlstate, constraint
):
    foreign.signing_keys.update(fingerprint=b"known")

    with refused(sqlstate, constraint):
        sql(SIGNING_KEY, uuid4(), webhook.workspace_id, webhook.pk, scheme, fingerprint)


def test_a_workspaces_name_is_taken_once(workspace):
    with refused(UNIQUE, "workspace_name_once"):
        Workspace.objects.create(name=workspace.name)


@pytest.mark.parametrize("scopes", [[], ["admin"], ["publish", "admin"]])
def test_a_key_has_known_scopes(workspace, key, scopes):
    with refused(CHECK, "api_key_has_known_scopes"):
        ApiKey.objects.update(scopes=scopes)


# --- the version that says whether what was compiled from the configuration is still good

CHANGES = {
    "a new endpoint": (
        "INSERT INTO endpoints_endpoint SELECT (jsonb_populate_record(endpoint, jsonb_build_object("
        "'id', gen_random_uuid()))).* FROM endpoints_endpoint AS endpoint"
    ),
    "an endpoint's state": "UPDATE endpoints_endpoint SET state = 'PAUSED'",
    "an endpoint's deletion": "UPDATE endpoints_endpoint SET deleted_at = now()",
    "an endpoint's type": "UPDATE endpoints_endpoint SET type = 'WEB_SOCKET', url = '', method = ''",
    "a new filter": (
        "INSERT INTO endpoints_eventfilter SELECT (jsonb_populate_record(filter, jsonb_build_object("
        "'id', gen_random_uuid()))).* FROM endpoints_eventfilter AS filter"
    ),
    "a filter's definition": """UPDATE endpoints_eventfilter SET definition = '{"pattern": {"type": ["a"]}}'""",
    "a new link": (
        "INSERT INTO endpoints_filterlink (workspace_id, endpoint_id, event_filter_id) SELECT endpoint.workspace_id, "
        "endpoint.id, filter.id FROM endpoints_endpoint AS endpoint, endpoints_eventfilter AS filter"
    ),
    "an endpoint that goes": (
        "WITH keys AS (DELETE FROM endpoints_signingkey), cursors AS (DELETE FROM routing_cursor), "
        "lanes AS (DELETE FROM routing_lane) DELETE FROM endpoints_endpoint"
    ),
    "a filter that goes": "DELETE FROM endpoints_eventfilter",
}


def versions():
    return dict(Workspace.objects.values_list("pk", "version"))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_raw_sql_that_changes_the_configuration_raises_its_workspaces_version(
    workspace, webhook, foreign_workspace, change
):
    make_filter(workspace)
    before = versions()

    sql(change)

    assert {pk for pk, version in versions().items() if version > before[pk]} == {workspace.pk}


@pytest.mark.parametrize(
    "change",
    [
        lambda webhook, event_filter: FilterLink.unlink([webhook], event_filter),
        lambda webhook, event_filter: Endpoint.change_state([webhook], Endpoint.State.DISABLED, "by hand"),
        lambda webhook, event_filter: event_filter.change(definition={"pattern": {"type": ["a"]}}),
        lambda webhook, event_filter: EventFilter.remove([event_filter]),
        lambda webhook, event_filter: Endpoint.remove([webhook]),
    ],
    ids=["unlink", "change state", "change filter", "remove filter", "remove endpoint"],
)
def test_every_operation_raises_the_version(workspace, webhook, change):
    event_filter = make_filter(workspace, endpoints=[webhook])
    before = versions()[workspace.pk]

    change(webhook, event_filter)

    assert versions()[workspace.pk] > before


def test_using_a_key_and_renaming_do_not_raise_the_version(workspace, webhook, key):
    before = versions()

    authenticate(key)
    webhook.change(name="Renamed", url="https://example.com/elsewhere")

    assert versions() == before
    assert ApiKey.objects.get().last_used_at is not None


# --- secrets and keys


def test_no_two_endpoints_share_a_secret(workspace):
    secrets = {
        Endpoint.create_webhook(workspace_id=workspace.pk, name="Hook", url="https://example.com/").secret
        for _ in range(100)
    }

    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {len("whsec_") + 44}  # 256 bits in base64


def test_a_keys_text_is_given_once_and_only_its_hash_is_kept(workspace):
    key, text = ApiKey.issue(workspace=workspace, name="ci", scopes=["read", "publish", "read"])

    stored = ApiKey.objects.values().get()
    assert re.fullmatch("es_live_[0-9A-Za-z]{49}", text)
    assert (stored["prefix"], bytes(stored["digest"])) == (text[:14], hashlib.sha512(text.encode()).digest())
    assert stored["scopes"] == ["publish", "read"]
    assert text not in str(stored)


def test_a_key_opens_its_own_workspace_with_its_own_scopes(workspace, foreign_workspace):
    key, text = ApiKey.issue(workspace=workspace, name="ci", scopes=["publish"])
    ApiKey.issue(workspace=foreign_workspace, name="other", scopes=Scope.values)

    assert authenticate(text) == Grant(key.pk, workspace.pk, frozenset({"publish"}))


@pytest.mark.parametrize("shown", ["prefix", "digest"])
def test_what_is_stored_of_a_key_does_not_open_anything(key, shown):
    stored = ApiKey.objects.get()

    with pytest.raises(Unauthenticated):
        authenticate(stored.prefix if shown == "prefix" else bytes(stored.digest).hex())


@pytest.mark.parametrize("unknown", ["", "es_live_", "é", "x" * 10_000, "\0"])
def test_an_unknown_key_is_refused(key, unknown):
    with pytest.raises(Unauthenticated, match="unknown, revoked or expired"):
        authenticate(unknown)


def test_a_key_is_refused_from_its_expiry_on(workspace):
    key, text = ApiKey.issue(
        workspace=workspace, name="ci", scopes=["read"], expires_at=timezone.now() + timedelta(minutes=1)
    )
    assert authenticate(text).key_id == key.pk

    ApiKey.objects.update(expires_at=Now())

    with pytest.raises(Unauthenticated):
        authenticate(text)


def test_a_revoked_key_is_refused_and_keeps_the_date_of_its_revocation(workspace):
    key, text = ApiKey.issue(workspace=workspace, name="ci", scopes=["read"])
    key.revoke()
    revoked_at = key.revoked_at

    key.revoke()

    assert key.revoked_at == revoked_at
    with pytest.raises(Unauthenticated):
        authenticate(text)


def test_the_last_use_of_a_key_is_noted_once_a_minute(key):
    authenticate(key)
    first = ApiKey.objects.get().last_used_at
    authenticate(key)
    assert ApiKey.objects.get().last_used_at == first

    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    authenticate(key)

    assert ApiKey.objects.get().last_used_at >= first


@pytest.mark.parametrize("scopes", [[], ["admin"], ["read", "admin"]])
def test_a_key_without_known_scopes_is_not_issued(workspace, scopes):
    with pytest.raises(BadInput) as refusal:
        ApiKey.issue(workspace=workspace, name="ci", scopes=scopes)

    assert (refusal.value.field, ApiKey.objects.count()) == ("scopes", 0)


def test_a_grant_allows_its_scopes_alone():
    grant = Grant(uuid4(), uuid4(), frozenset({"read"}))

    grant.require(Scope.READ)
    with pytest.raises(Forbidden, match="scopes are read; the operation needs 'manage'"):
        grant.require(Scope.MANAGE)


@pytest.mark.parametrize(
    ("authorization", "token"),
    [("Bearer KEY", None), ("bearer  KEY ", None), ("BEARER KEY", "other"), (None, "KEY"), ("", " KEY ")],
)
def test_a_key_is_presented_in_either_header(authorization, token):
    assert presented_key(authorization, token) == "KEY"


@pytest.mark.parametrize(
    ("authorization", "token"), [(None, None), ("", ""), (None, " "), ("Basic KEY", None), ("Bearer", "KEY")]
)
def test_without_a_key_nobody_comes_in(authorization, token):
    with pytest.raises(Unauthenticated):
        presented_key(authorization, token)


# --- what people write


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:password@example.com/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://127.0.0.1:0x50/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://[::1/",
        "http://exam ple.com/",
        "http://example.com/\r\nX-Injected: 1",
        "http://example.com/\0",
        "http://example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_is_no_plain_web_address_is_refused(workspace, url):
    with pytest.raises(BadInput) as refusal:
        Endpoint.create_webhook(workspace_id=workspace.pk, name="Hook", url=url)

    assert (refusal.value.field, Endpoint.objects.count()) == ("url", 0)


@pytest.mark.parametrize(
    "url", ["http://example.com", "https://example.com:8443/a?b=c&d=%20#e", "https://münchen.example/", "http://[::1]/"]
)
def test_a_web_address_is_kept_as_it_was_written(workspace, url):
    Endpoint.create_webhook(workspace_id=workspace.pk, name="Hook", url=url)

    assert Endpoint.objects.get().url == url


@pytest.mark.parametrize("name", ["", " \t", "x" * 201, "a\0b"])
def test_a_bad_name_changes_nothing(webhook, name):
    with pytest.raises(BadInput) as refusal:
        webhook.change(name=name, url="https://example.com/new")

    assert refusal.value.field == "name"
    assert Endpoint.objects.values_list("name", "url").get() == ("MyHook", "https://example.com/hook")


@pytest.mark.parametrize("changed", [{"url": "https://example.com/"}, {"method": "PUT"}])
def test_a_websocket_takes_no_url_and_no_method(web_socket, changed):
    with pytest.raises(BadInput) as refusal:
        web_socket.change(**changed)

    assert refusal.value.field in changed


def test_a_removed_endpoint_stays_for_the_history_but_loses_its_links(workspace, webhook):
    make_filter(workspace, endpoints=[webhook])

    Endpoint.remove([webhook])

    assert (Endpoint.objects.count(), Endpoint.objects.live().count(), FilterLink.objects.count()) == (1, 0, 0)


def test_a_filter_is_made_with_all_its_links_or_not_at_all(workspace, webhook, foreign):
    with refused(FOREIGN_KEY, "filter_link_endpoint_in_workspace"):
        make_filter(workspace, endpoints=[webhook, foreign])

    assert (EventFilter.objects.count(), FilterLink.objects.count()) == (0, 0)
