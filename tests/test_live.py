"""The page on which operators see events as they come: who may, and a real browser across restarts."""

import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Page, expect

from endpoints.models import Endpoint, Workspace
from routing.models import SocketTicket
from tests.browser import sign_in, window
from tests.service import DEADLINE_S, Service, wait_until

PATH = "/event-service/live"
SLOWER_S = 0.001  # between two events, for each before: the page shows no more than 500, however long a start takes
CREATE_SOCKET = "mutation ($name: String!) { createWebSocketEndpoint(name: $name) { id } }"
STATES = """
query ($endpoint: ID!) {
  deliveries(filters: {endpointId: {exact: $endpoint}}, pagination: {limit: 200}) { collectionItems { state } }
}
"""
CURSORS = "rows => rows.map(row => Number(row.dataset.cursor.split('-')[1])).reverse()"


# --- who may


@pytest.fixture
def operator(db: None) -> User:
    operator = User.objects.create_user("looker", is_staff=True)
    operator.user_permissions.set(Permission.objects.filter(codename__in=["view_event", "see_all_workspaces"]))
    return operator


def test_who_is_not_signed_in_is_sent_to_the_admins_login_and_back(client: Client) -> None:
    answer = client.get(f"{PATH}?endpoint=1")
    assert (answer.status_code, answer["Location"]) == (
        302,
        "/admin/login/?next=/event-service/live%3Fendpoint%3D1",
    )


@pytest.mark.parametrize("staff", [{}, {"is_staff": True}], ids=["no staff", "staff without the permission"])
def test_who_may_not_see_events_is_refused(client: Client, web_socket: Endpoint, staff: dict[str, bool]) -> None:
    client.force_login(User.objects.create_user("visitor", **staff))
    assert client.get(PATH).status_code == 403
    assert client.post(f"{PATH}/ticket", {"endpoint": str(web_socket.pk)}).status_code == 403
    assert not SocketTicket.objects.exists()


def test_a_ticket_needs_a_session(client: Client, web_socket: Endpoint) -> None:
    assert client.post(f"{PATH}/ticket", {"endpoint": str(web_socket.pk)}).status_code == 403
    assert not SocketTicket.objects.exists()


def test_a_ticket_needs_the_token_of_the_page(operator: User, web_socket: Endpoint) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)
    asked = {"endpoint": str(web_socket.pk)}
    assert client.post(f"{PATH}/ticket", asked).status_code == 403
    assert not SocketTicket.objects.exists()

    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(PATH).content.decode())[0]
    answer = client.post(f"{PATH}/ticket", asked, headers={"X-CSRFToken": token})
    assert (answer.status_code, answer.json()["ticket"][:4]) == (200, "evt_")
    ticket = SocketTicket.objects.get()
    assert (ticket.user, ticket.key, ticket.endpoint) == (operator, None, web_socket)


@pytest.mark.parametrize("named", ["", "1", "00000000-0000-4000-8000-000000000000"])
def test_a_ticket_is_for_an_endpoint(client: Client, operator: User, named: str) -> None:
    client.force_login(operator)
    assert client.post(f"{PATH}/ticket", {"endpoint": named}).status_code == 404
    assert not SocketTicket.objects.exists()


def test_the_page_lists_endpoints_and_runs_nothing_inline(
    client: Client, operator: User, web_socket: Endpoint, webhook: Endpoint, django_assert_num_queries: Any
) -> None:
    other = Workspace.objects.create(name="<b>Other</b>")
    Endpoint.create_web_socket(workspace_id=other.pk, name="<script>alert(1)</script>")
    client.force_login(operator)
    client.get(PATH)
    with django_assert_num_queries(5):  # session, user, two of its permissions, endpoints
        answer = client.get(PATH)
    page = answer.content.decode()
    assert (str(web_socket.pk) in page, str(webhook.pk) in page) == (True, True)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert answer["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", page) == []
    assert "no-store" in answer["Cache-Control"]


# --- in a browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def endpoint(service: Service) -> str:
    id_: str = service.graphql(CREATE_SOCKET, name="Orders of the shop")["createWebSocketEndpoint"]["id"]
    return id_


@pytest.fixture
def said() -> list[str]:
    """What the page's console said, such as what its policy forbade."""
    return []


@pytest.fixture
def page(service: Service, endpoint: str, said: list[str]) -> Iterator[Page]:
    """The page, on which the endpoint was chosen by an operator who signed in."""
    with window() as page:
        sign_in(page, service, PATH)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.reload()
        page.get_by_label("Endpoint").select_option(endpoint)
        expect_state(page, "open")
        yield page


def expect_state(page: Page, state: str) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", state, timeout=DEADLINE_S * 1000)


def cursors(page: Page) -> Any:
    return page.locator("#rows > li").evaluate_all(CURSORS)


def wait_for_rows(page: Page, count: int) -> None:
    expect(page.locator(f"#rows > li[data-cursor$='-{count}']")).to_have_count(1, timeout=DEADLINE_S * 1000)


def states(service: Service, endpoint: str) -> set[str]:
    found = service.graphql(STATES, endpoint=endpoint)["deliveries"]["collectionItems"]
    return {delivery["state"] for delivery in found}


def test_events_appear_as_they_come_and_stay_undelivered(
    service: Service, endpoint: str, page: Page, said: list[str]
) -> None:
    data = '{"total": 1.00, "lines": [1e2, {}], "note": "<b>\\"x\\", {y}: [z]</b>"}'
    headers = {"Token": service.key, "content-type": "application/json"}
    sent = f'{{"type": "order.paid", "subject": "order/1", "data": {data}}}'
    answer = requests.post(f"{service.url}/event-service/events", data=sent, headers=headers, timeout=30)
    (event,) = answer.json()["events"]

    row = page.locator("#rows > li")
    expect(row.locator(".type")).to_have_text("order.paid")
    expect(row.locator(".subject")).to_have_text("order/1")
    expect(row.locator(".id")).to_have_text(event["id"])
    expect(row.locator("pre")).to_be_hidden()
    row.locator("summary").click()
    expect(row.locator("pre")).not_to_be_empty()  # it is filled once it is opened
    shown = row.locator("pre").inner_text()

    assert "".join(shown.split()) == "".join(data.split())
    assert shown.startswith('{\n  "total": 1.00,\n  "lines": [\n    1e2,\n    {}\n  ],\n  "note": "<b>')
    assert json.loads(shown) == json.loads(data)
    assert states(service, endpoint) == {"PENDING"}
    expect(page.locator("#status")).to_have_text("Live (came: 1)")
    assert said == []


def test_what_comes_during_a_pause_is_shown_when_it_ends(service: Service, page: Page, said: list[str]) -> None:
    service.publish({"type": "before"})
    wait_for_rows(page, 1)
    page.get_by_role("button", name="Pause").click()
    expect_state(page, "stopped")
    service.publish({"type": "during"}, {"type": "during"})
    assert cursors(page) == [1]
    page.get_by_role("button", name="Resume").click()
    wait_for_rows(page, 3)
    assert cursors(page) == [1, 2, 3]
    assert said == []


def test_another_endpoint_begins_with_what_comes_from_now_on(
    service: Service, endpoint: str, page: Page, said: list[str]
) -> None:
    other = service.graphql(CREATE_SOCKET, name="Another")["createWebSocketEndpoint"]["id"]
    service.publish({"type": "before"})
    wait_for_rows(page, 1)
    page.goto(f"{service.url}{PATH}?endpoint={other}")
    expect(page.get_by_label("Endpoint")).to_have_value(other)
    expect_state(page, "open")
    page.get_by_label("Endpoint").select_option(endpoint)
    expect_state(page, "open")
    service.publish({"type": "after"})
    wait_for_rows(page, 2)
    assert cursors(page) == [2]
    assert said == []


def test_no_row_is_missing_or_doubled_when_the_service_is_stopped_killed_and_started_meanwhile(
    service: Service, endpoint: str, page: Page, said: list[str]
) -> None:
    accepted: list[str] = []
    over = threading.Event()
    publisher = threading.Thread(target=publish_until, args=[over, service, accepted])
    publisher.start()
    try:
        for kill in (False, True):
            wait_until(partial(len, accepted), (len(accepted) + 30).__le__)
            if kill:
                service.kill("serve", "web", "deliver")
                service.supervisor.wait()
            else:
                service.stop()
            expect_state(page, "waiting")
            service.start()
            expect_state(page, "open")
        wait_until(partial(len, accepted), (len(accepted) + 30).__le__)
    finally:
        over.set()
        publisher.join()

    total = service.graphql(
        "query ($id: ID!) { deliveries(filters: {endpointId: {exact: $id}}) { totalCount } }", id=endpoint
    )
    count = total["deliveries"]["totalCount"]
    wait_for_rows(page, count)
    assert cursors(page) == list(range(1, count + 1))
    expect(page.locator("#rows > li[data-state='PENDING']")).to_have_count(count)  # and what becomes of each is told
    ids = page.locator("#rows .id").all_inner_texts()
    assert len(set(ids)) == count >= 90
    assert set(accepted) <= set(ids)
    assert [
        text for text in said if "ERR_" not in text and "Failed to load" not in text and "WebSocket" not in text
    ] == []


def publish_until(over: threading.Event, service: Service, accepted: list[str]) -> None:
    """Publish one event after the other, whatever becomes of it, and note which were accepted."""
    while not over.wait(len(accepted) * SLOWER_S):
        try:
            answer = service.publish({"type": "load"}, timeout_s=5)
        except requests.RequestException:
            over.wait(0.05)
        else:
            accepted += [event["id"] for event in answer.json().get("events", [])]


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_it_fits_the_screen(service: Service, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    long = "x" * 200
    service.publish({"type": long, "subject": long, "data": {long: long}})
    wait_for_rows(page, 1)
    page.locator("#rows summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
