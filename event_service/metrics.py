"""The doors for Prometheus: /metrics for the installation, and one of each process for what is its own."""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from endpoints.outage import OUTAGE
from routing.metrics import OF_PROCESS
from routing.totals import Totals

log = logging.getLogger(__name__)

KEPT_S = 5  # for which an answer holds: scrapes cost the database no more than that, whoever asks
REGISTRY = CollectorRegistry()
REGISTRY.register(Totals())


class _Kept:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = b""
        self.until = 0.0

    def text(self) -> bytes:
        with self._lock:
            if time.monotonic() >= self.until:
                self._text = generate_latest(REGISTRY)
                self.until = time.monotonic() + KEPT_S
            return self._text


kept = _Kept()


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer those who have the token. Where there is none, there is no such page."""
    if not settings.METRICS_TOKEN:
        raise Http404("EVENT_SERVICE_METRICS_TOKEN is not set.")
    if not _is_allowed(request.headers.get("Authorization", "")):
        return HttpResponse("Send the token as a bearer.\n", "text/plain", 401, headers={"WWW-Authenticate": "Bearer"})
    try:
        return HttpResponse(kept.text(), CONTENT_TYPE)
    except OUTAGE as error:
        log.warning("The database did not say how things stand: %s", error)
        return HttpResponse("The database does not answer.\n", "text/plain", 503)


def _is_allowed(authorization: str) -> bool:
    return hmac.compare_digest(authorization.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())


class ProcessDoor(ThreadingHTTPServer):
    """GET /metrics and /healthz of this process alone. `lives` says whether it does its work."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], lives: Callable[[], bool]) -> None:
        super().__init__(address, _Asked)
        self.lives = lives

    def open(self) -> None:
        threading.Thread(target=self.serve_forever, name="process door", daemon=True).start()


class _Asked(BaseHTTPRequestHandler):
    server: ProcessDoor
    timeout: ClassVar[float] = 10  # for who connects and says nothing

    def do_GET(self) -> None:
        if self.path == "/healthz":
            lives = self.server.lives()
            self._answer(200 if lives else 503, b'{"live": %s}\n' % str(lives).lower().encode(), "application/json")
        elif self.path != "/metrics":
            self._answer(404, b"Ask for /metrics or /healthz.\n", "text/plain")
        elif settings.METRICS_TOKEN and not _is_allowed(self.headers.get("Authorization", "")):
            self._answer(401, b"Send the token as a bearer.\n", "text/plain")
        else:
            self._answer(200, generate_latest(OF_PROCESS), CONTENT_TYPE)

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape every few seconds is no news."""


def open_process_door(number: int, lives: Callable[[], bool]) -> None:
    """Open this process's door where the settings have one: the port is the first one's, plus `number`.

    A port that is taken is said, and costs the door alone: what is delivered matters more than what is measured.
    """
    if settings.PROCESS_DOOR is None:
        return
    host, port = settings.PROCESS_DOOR
    try:
        ProcessDoor((host, port + number), lives).open()
    except (OSError, OverflowError) as error:  # the latter of a port beyond all
        log.error("No metrics of this process: can't listen on %s:%d: %s", host, port + number, error)
