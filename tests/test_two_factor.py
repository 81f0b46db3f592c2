"""The second factor of the admin: where it is asked for, a password is not enough."""

import re
import time

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from endpoints.models import AuditEntry
from tests.test_sign_in import LIMIT, PASSWORD

DOORS = ("/admin/", "/admin/endpoints/endpoint/", "/admin/why/", "/event-service/live")


@pytest.fixture
def ops(db, settings):
    settings.TWO_FACTOR = True
    return User.objects.create_superuser("ops", password=PASSWORD)


def given(capsys):
    """Give a second factor, and return its recovery codes."""
    call_command("two_factor", "ops")
    return re.findall(r"^    ([a-z2-7]{16})$", capsys.readouterr().out, re.MULTILINE)


def shown():
    """Return what the app shows now."""
    device = TOTPDevice.objects.get()
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    totp.time = time.time()
    return f"{totp.token():06d}"


def sign_in(client, token="", username="ops"):
    form = {"username": username, "password": PASSWORD, "otp_token": token}
    return client.post("/admin/login/", form)


def is_in(client):
    return [client.get(door).status_code in (200, 404) for door in DOORS]


def test_a_password_is_enough_unless_two_factors_are_asked_for(ops, client, settings, capsys):
    given(capsys)
    settings.TWO_FACTOR = False
    assert sign_in(client).status_code == 302
    assert is_in(client) == [True] * len(DOORS)


def test_a_password_alone_opens_nothing(ops, client, capsys):
    assert sign_in(client).status_code == 200
    given(capsys)
    assert [sign_in(client, token).status_code for token in ("", "000000")] == [200, 200]
    assert is_in(client) == [False] * len(DOORS)


def test_codes_and_passwords_of_a_failure_are_not_kept(ops, client):
    client.post("/admin/login/", {"username": "ops", "password": "wrong horse", "otp_token": "abcdefghijklmnop"})
    kept = AccessAttempt.objects.get().post_data
    assert "username=ops" in kept
    assert "wrong" not in kept
    assert "abcdefgh" not in kept


def test_a_session_from_before_opens_nothing(ops, client, web_socket):
    client.force_login(ops)
    assert is_in(client) == [False] * len(DOORS)
    assert client.post("/event-service/live/ticket", {"endpoint": str(web_socket.pk)}).status_code == 403


def test_the_app_opens_all_and_the_same_code_not_twice(ops, client, capsys):
    given(capsys)
    code = shown()
    assert sign_in(client, code).status_code == 302
    assert is_in(client) == [True] * len(DOORS)
    assert sign_in(Client(), code).status_code == 200


def test_a_recovery_code_opens_once(ops, client, capsys):
    codes = given(capsys)
    assert len(set(codes)) == 10
    assert sign_in(client, codes[0]).status_code == 302
    assert sign_in(Client(), codes[0]).status_code == 200
    assert StaticToken.objects.count() == 9


@pytest.mark.parametrize("options", [[], ["--remove"]], ids=["given again", "removed"])
def test_what_was_before_is_void_and_the_log_says_so(ops, client, capsys, options):
    old = given(capsys)
    sign_in(client, old[0])
    call_command("two_factor", "ops", *options)
    assert is_in(client) == [False] * len(DOORS)
    assert sign_in(Client(), old[1]).status_code == 200
    entries = AuditEntry.objects.filter(object_type="User", changes__has_key="two_factor").order_by("at")
    said = ["given", "removed" if options else "given"]
    assert [entry.changes["two_factor"]["after"] for entry in entries] == said


def test_guessing_codes_is_guessing(ops, capsys):
    codes = given(capsys)
    found = [sign_in(Client(), "000000").status_code for _ in range(LIMIT)]
    assert (found[0], found[-1]) == (200, 429)
    assert sign_in(Client(), codes[0]).status_code == 429


def test_it_is_given_to_who_is_there(db):
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("two_factor", "nobody")


def test_no_page_shows_a_second_factors_secret():
    assert [model for model in admin.site._registry if model._meta.app_label.startswith("otp_")] == []
