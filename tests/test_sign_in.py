"""Signing in to the admin: who guesses is locked out, and what a session is worth."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from endpoints.models import StaffBinding

LOGIN = "/admin/login/"
PASSWORD = "correct horse battery staple"
LIMIT = settings.AXES_FAILURE_LIMIT


@pytest.fixture
def staff(db):
    return {name: User.objects.create_superuser(name, password=PASSWORD) for name in ("ops", "other")}


def sign_in(password=PASSWORD, username="ops", client=None, **extra):
    return (client or Client()).post(LOGIN, {"username": username, "password": password}, **extra)


def lock(attempts=LIMIT, **extra):
    return [sign_in("wrong", **extra).status_code for _ in range(attempts)]


def test_who_guesses_is_locked_out_and_told_so_even_with_the_right_password(staff):
    assert lock(20) == [200] * (LIMIT - 1) + [429] * (20 - LIMIT + 1)
    answer = sign_in()
    assert (answer.status_code, "Signing in is locked" in answer.content.decode()) == (429, True)
    assert "900 seconds" in answer.content.decode()
    assert not answer.client.session.get("_auth_user_id")


def test_others_are_not_locked_out_with_them(staff):
    lock()
    assert sign_in(username="other").status_code == 302


def test_who_guesses_from_many_addresses_is_locked_out_of_all_of_them(staff):
    answers = [sign_in("wrong", REMOTE_ADDR=f"192.0.2.{number}").status_code for number in range(LIMIT)]
    assert answers[-1] == sign_in(REMOTE_ADDR="192.0.2.99").status_code == 429


def test_a_browser_that_a_name_has_signed_in_with_is_not_locked_with_its_name(staff):
    known, others = Client(), Client()
    assert sign_in(client=known).status_code == sign_in(client=others, username="other").status_code == 302
    for client in (known, others):
        client.post(reverse("admin:logout"))
    lock(REMOTE_ADDR="192.0.2.1")

    assert sign_in(client=others, REMOTE_ADDR="192.0.2.2").status_code == 429
    forged = Client()
    forged.cookies["known_browser"] = "ops"
    assert sign_in(client=forged, REMOTE_ADDR="192.0.2.3").status_code == 429
    assert sign_in(client=known).status_code == 302


def test_a_name_may_have_letters_that_headers_have_not(staff):
    User.objects.create_superuser("Юрий", password=PASSWORD)
    known = sign_in(username="Юрий").client
    assert known.cookies["known_browser"].OutputString().isascii()
    known.post(reverse("admin:logout"))
    for _ in range(LIMIT):
        sign_in("wrong", username="Юрий", REMOTE_ADDR="192.0.2.1")
    assert sign_in(username="Юрий", client=known).status_code == 302


def test_a_known_browser_that_guesses_is_locked_too(staff):
    known = Client()
    sign_in(client=known)
    known.post(reverse("admin:logout"))
    assert lock(client=known)[-1] == 429


def test_what_headers_say_of_the_address_counts_for_nothing(staff):
    for number in range(LIMIT):
        sign_in("wrong", headers={"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"})
    assert sign_in(headers={"X-Forwarded-For": "192.0.2.99"}).status_code == 429


def test_a_success_forgives_the_failures_before_it(staff):
    for _ in range(2):
        lock(LIMIT - 1)
        assert sign_in().status_code == 302


@pytest.mark.parametrize("command", [("axes_reset_username", "ops"), ("axes_reset_ip", "127.0.0.1"), ("axes_reset",)])
def test_an_operator_unlocks(staff, command):
    lock()
    call_command(*command, verbosity=0)
    assert sign_in().status_code == 302


def test_guessing_in_an_open_session_is_guessing(client, webhook):
    member = User.objects.create_user("ops", password=PASSWORD, is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename="reveal_endpoint_secret"))
    StaffBinding.objects.create(user=member, workspace=webhook.workspace)
    client.force_login(member)
    secret = reverse("admin:endpoints_endpoint_secret", args=[webhook.pk])

    assert [client.post(secret, {"password": "wrong"}).status_code for _ in range(LIMIT)][-1] == 429

    answer = client.post(secret, {"password": PASSWORD})
    assert (answer.status_code, webhook.secret in answer.content.decode()) == (429, False)
    assert sign_in().status_code == 429


@pytest.mark.django_db(transaction=True)
def test_processes_count_together(web, other_web):
    import requests

    User.objects.create_superuser("ops", password=PASSWORD)

    def guess(number):
        session, port = requests.Session(), (web, other_web)[number % 2].port
        address = f"http://127.0.0.1:{port}{LOGIN}"
        session.get(address, timeout=30)
        form = {"username": "ops", "password": "wrong", "csrfmiddlewaretoken": session.cookies["csrftoken"]}
        return session.post(address, form, timeout=30).status_code

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(guess, range(2 * LIMIT)))
    assert (found[-1], sign_in().status_code) == (429, 429)
    assert found.count(200) <= LIMIT


# --- sessions


def test_a_session_gets_another_id_at_the_sign_in_and_its_cookie_is_for_the_browser_alone(staff, settings):
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True  # as EVENT_SERVICE_HTTPS=1 has it
    client = Client()
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies["sessionid"] = session.session_key

    answer = sign_in(client=client)

    cookie = answer.cookies["sessionid"]
    assert cookie.value != session.session_key
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"], cookie["max-age"]) == (True, True, "Lax", 43_200)
    csrf = answer.cookies["csrftoken"]
    assert (csrf["httponly"], csrf["secure"], csrf["samesite"]) == (True, True, "Lax")


def test_another_password_ends_all_other_sessions(staff):
    here, there = Client(), Client()
    assert [sign_in(client=client).status_code for client in (here, there)] == [302, 302]
    form = {"old_password": PASSWORD, "new_password1": f"{PASSWORD} 2", "new_password2": f"{PASSWORD} 2"}
    assert here.post(reverse("admin:password_change"), form).status_code == 302
    assert [client.get("/admin/").status_code for client in (here, there)] == [200, 302]


@pytest.mark.parametrize("password", ["short", "1q2w3e4r5t6y", "123456789012", "operator1234"])
def test_a_password_that_is_guessed_is_not_taken(password):
    with pytest.raises(ValidationError):
        validate_password(password, User(username="operator1234"))
