"""docs/browser.md as its reader would use it: a server that makes tickets, and a page of another origin."""

import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser import window
from tests.service import DEADLINE_S, ROOT, Service, wait_until

DOCS = (ROOT / "docs/browser.md").read_text()
CLIENT = "/event-socket.js"
CREATE_SOCKET = 'mutation { createWebSocketEndpoint(name: "orders") { id } }'
DELIVERIES = """
query ($endpoint: ID!) {
  deliveries(filters: {endpointId: {exact: $endpoint}}, pagination: {limit: 200}) { collectionItems { state } }
}
"""


def example(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    return str(found)


class Shop(ThreadingHTTPServer):
    """Somebody's server: the page, the file that it copied, and tickets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.page = ""
        self.create_ticket: Callable[[], str] = str


class _Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        if self.path == CLIENT:
            self._answer("text/javascript", (ROOT / "routing/static/routing/event-socket.js").read_text())
        else:
            self._answer("text/html", self.server.page)

    def do_POST(self) -> None:
        try:
            ticket = self.server.create_ticket()
        except Exception:  # while the service is away
            self.send_error(503)
        else:
            self._answer("text/plain", ticket)

    def _answer(self, media_type: str, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", media_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        threading.Thread(target=shop.serve_forever, args=[0.02], daemon=True).start()
        yield shop
        shop.shutdown()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), EVENT_SERVICE_ORIGINS=shop.url) as service:
        yield service


@pytest.fixture
def endpoint(service: Service, shop: Shop) -> str:
    """An endpoint, of which the shop shows the events."""
    id_: str = service.graphql(CREATE_SOCKET)["createWebSocketEndpoint"]["id"]
    server: dict[str, Any] = {}
    exec(
        example("python").replace("https://events.example.com", service.url).replace("es_live_...", service.key), server
    )
    shop.create_ticket = partial(server["create_ticket"], id_)
    socket = f"{service.url.replace('http', 'ws')}/event-service/ws?endpoint_id={id_}"
    shop.page = example("html").replace("wss://events.example.com/event-service/ws?endpoint_id=ID", socket)
    return id_


@pytest.fixture
def page(shop: Shop, endpoint: str) -> Iterator[Page]:
    with window() as page:
        page.set_default_timeout(DEADLINE_S * 1000)
        yield page


def expect_orders(page: Page, *texts: str) -> None:
    expect(page.locator("#orders > li")).to_have_text([*texts], timeout=DEADLINE_S * 1000)


def states(service: Service, endpoint: str) -> list[str]:
    found = service.graphql(DELIVERIES, endpoint=endpoint)["deliveries"]["collectionItems"]
    return [delivery["state"] for delivery in found]


def is_accepted(service: Service, event: dict[str, Any]) -> bool:
    try:
        return service.publish(event, timeout_s=5).status_code == 202
    except requests.RequestException:
        return False


def test_the_page_shows_each_event_once_across_restarts_and_delivers_it(
    service: Service, shop: Shop, endpoint: str, page: Page
) -> None:
    service.publish({"type": "order", "subject": "1"})
    page.goto(shop.url)
    expect_orders(page, "order 1")
    service.kill("web")
    order = {"type": "order", "id": "2", "subject": "2"}  # its own id: publishing it again until it is accepted is safe
    wait_until(partial(is_accepted, service, order), bool)
    expect_orders(page, "order 1", "order 2")
    service.stop()
    expect(page.locator("#status")).to_have_text(re.compile("^waiting"))
    service.start()
    service.publish({"type": "order", "subject": "3"}, {"type": "order", "subject": "4"})
    expect_orders(page, "order 1", "order 2", "order 3", "order 4")
    wait_until(partial(states, service, endpoint), (["DELIVERED"] * 4).__eq__)


def test_what_could_not_be_taken_comes_again_first(service: Service, shop: Shop, endpoint: str, page: Page) -> None:
    # The file as the service serves it, and a `take` that fails for a while.
    shop.page = shop.page.replace(f'"{CLIENT}"', f'"{service.url}/event-service/static/routing/event-socket.js"')
    shop.page = shop.page.replace(endpoint, f"{endpoint}&from=2026-01-01T00:00:00Z")  # at first, and no more later
    assert "take: (event) => {" in shop.page
    failing = 'take: (event) => {\nif (event.subject === "2" && (window.failures = (window.failures ?? 0) + 1) < 3)'
    shop.page = shop.page.replace("take: (event) => {", f'{failing} throw new Error("full");')
    page.goto(shop.url)
    expect(page.locator("#status")).to_have_text(re.compile("^open"))
    service.publish(*({"type": "order", "subject": str(n)} for n in (1, 2, 3)))
    expect_orders(page, "order 1", "order 2", "order 3")
    assert page.evaluate("window.failures") == 3
    wait_until(partial(states, service, endpoint), (["DELIVERED"] * 3).__eq__)


def test_a_page_of_an_endpoint_that_is_deleted_ends(service: Service, shop: Shop, endpoint: str, page: Page) -> None:
    page.goto(shop.url)
    expect(page.locator("#status")).to_have_text(re.compile("^open"))
    service.graphql("mutation ($id: ID!) { deleteEndpoints(ids: [$id]) { ok } }", id=endpoint)
    expect(page.locator("#status")).to_have_text(f"ended The endpoint {endpoint} was deleted.")
