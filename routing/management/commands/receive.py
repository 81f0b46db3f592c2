import base64
import hmac
import time
from argparse import ArgumentParser
from collections.abc import Callable
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from endpoints.telling import TellingCommand
from routing.signing import signature

_TOLERANCE_S = 300  # how far a timestamp may lie from this machine's clock


class Command(TellingCommand):
    help = "A webhook receiver for trying things: prints what arrives and says whether its signature is right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=9000)
        parser.add_argument("--status", type=int, default=200, help="the answer to every request")
        parser.add_argument(
            "--secret",
            default=settings.CLIENT_SECRET,
            help="whsec_...: check signatures by it, and answer 401 where they are wrong; better in the environment, "
            "as EVENT_SERVICE_SECRET",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["secret"]:
            _check_secret(options["secret"])
        handler = partial(_Handler, tell=self.tell, status=options["status"], secret=options["secret"])
        with _listening(options["port"], handler) as server:
            url = f"http://127.0.0.1:{server.server_port}/"
            self.tell(f"Receiving on {url}", receiving=url)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                self.stderr.write("Stopped.")


def _check_secret(secret: str) -> None:
    try:
        known = secret.startswith("whsec_") and base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        known = False
    if not known:
        raise CommandError("--secret is no secret; copy it whole, whsec_ and all, from endpointSecret.")


def _listening(port: int, handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise CommandError(f"Can't listen on 127.0.0.1:{port}: {error.strerror}. Choose another --port.") from error


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, tell: Callable[..., None], status: int, secret: str | None) -> None:
        self._tell = tell
        self._status = status
        self._secret = secret
        super().__init__(*args)

    def _receive(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        problem = signature_problem(self._secret, self.headers, body) if self._secret else None
        signature = (problem or "right") if self._secret else None
        webhook_id, text = self.headers.get("webhook-id"), body.decode(errors="replace")
        verdict = f"  signature: {signature}" if signature else ""
        status = 401 if problem else self._status
        self._tell(
            f"{self.command} {self.path}  webhook-id: {webhook_id}{verdict}  answered: {status}\n{text}",
            **{"method": self.command, "path": self.path, "webhookId": webhook_id},
            **{"signature": signature, "answered": status, "body": text},
        )
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_PUT = do_PATCH = do_GET = do_DELETE = _receive

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing more: the request has been printed."""


def signature_problem(secret: str, headers: Message, body: bytes) -> str | None:
    """Return what is wrong with the signature of a request, or None. By Standard Webhooks."""
    message_id, timestamp = headers.get("webhook-id"), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()
    if not message_id or not timestamp.isdecimal() or not given:
        return "wrong, the request is not signed"
    if abs(time.time() - int(timestamp)) > _TOLERANCE_S:
        return f"wrong, its timestamp is over {_TOLERANCE_S} s off"
    right = signature(secret, message_id, int(timestamp), body)
    if not any(hmac.compare_digest(right.encode(), one.encode()) for one in given):
        return "WRONG, another secret or other bytes"
    return None
