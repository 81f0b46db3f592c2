"""One bounded exchange with a receiver. Nothing of the environment takes part: no proxy, netrc, cookie or bundle."""

import logging
import ssl
from collections.abc import Mapping
from functools import lru_cache
from http.client import BadStatusLine, HTTPException, LineTooLong, UnknownProtocol
from io import BytesIO
from typing import Any, NamedTuple, cast
from uuid import UUID

import requests
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from routing.egress.connections import Connection, PlainConnection, Pool, Reply, TLSConnection, ask
from routing.egress.dialling import Proxy
from routing.egress.errors import EgressError
from routing.egress.targets import Target, target_of
from routing.egress.watchdog import Attempt, Watchdog

logger = logging.getLogger(__name__)

BODY_LIMIT = 16 * 1024  # bytes of an answer that are read
_FAILURES = (OSError, HTTPException, ValueError)  # of the far end; ValueError is http.client's for a bad chunk


class Answer(NamedTuple):
    status_code: int
    headers: Mapping[str, str]  # found whatever the case of their names
    body: bytes  # its first 16 KiB, not decoded


class Door:
    """Sends requests over connections that it keeps. One serves all threads of a process, the one that made it."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.watchdog = Watchdog()
        self.proxy = Proxy.of(settings.EGRESS_PROXY)
        self.tls = _tls_context(settings.EGRESS_CA, settings.EGRESS_CLIENT_CERT)

    def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes, *, workspace_id: UUID, deadline_s: float
    ) -> Answer:
        """Send one request and return its answer, whatever the status, within `deadline_s`. Raises EgressError.

        Status line and headers decide: of a body that is cut short or endless, what came is returned.
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, url, body or None
        request.headers = cast(Any, headers)  # ready as it is: it only has to be iterated
        try:
            response = Adapter(self, workspace_id).send(request, timeout=deadline_s)
        except EgressError as error:
            level = logging.WARNING if error.code.endswith("_REFUSED") else logging.INFO
            logger.log(level, "A request of workspace %s came to nothing: %s %s", workspace_id, error.code, error)
            raise
        return Answer(response.status_code, response.headers, response.content)

    def close(self) -> None:
        self.watchdog.close()
        self.pool.close()


class Adapter(BaseAdapter):
    """The transport of `requests` through the door, for one workspace.

    `timeout` is the deadline in seconds. Certificates and proxies are the installation's, not the caller's.
    """

    def __init__(self, door: Door, workspace_id: UUID) -> None:
        super().__init__()
        self._door = door
        self._workspace_id = workspace_id

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        attempt = self._door.watchdog.start(timeout)
        try:
            return self._exchange(request, target_of(str(request.url)), attempt)
        except (EgressError, *_FAILURES) as error:
            raise _explained(error, attempt) from error
        finally:
            self._door.watchdog.finish(attempt)

    def close(self) -> None:
        """The connections are the door's."""

    def _exchange(self, request: requests.PreparedRequest, target: Target, attempt: Attempt) -> requests.Response:
        origin = (self._workspace_id, target.scheme, target.host, target.port)
        if kept := self._door.pool.take(origin):
            try:
                return self._over(kept, origin, request, target, attempt)
            except ConnectionError:
                if attempt.over:
                    raise
                # The receiver closed the connection as it was taken: no answer came, and none will.
        return self._over(self._connection(target), origin, request, target, attempt)

    def _connection(self, target: Target) -> Connection:
        connection: Connection
        if target.scheme == "https":
            connection = TLSConnection(target.host, target.port, ssl_context=self._door.tls)
        else:
            connection = PlainConnection(target.host, target.port)
        connection.through = self._door.proxy
        return connection

    def _over(
        self,
        connection: Connection,
        origin: tuple[UUID, str, str, int],
        request: requests.PreparedRequest,
        target: Target,
        attempt: Attempt,
    ) -> requests.Response:
        """Make the exchange over `connection`, and keep it if nothing of the exchange can reach the next one."""
        clean = False
        try:
            reply = ask(connection, attempt, request, target.path)
            try:
                _check(reply)
                body, complete = _body(reply)
            finally:
                reply.close()
            attempt.finish()  # before others may take the connection
            clean = complete and _is_unambiguous(reply)
        finally:
            if clean:
                self._door.pool.give(origin, connection)
            else:
                connection.close()
        return _response(request, reply, body)


def _check(reply: Reply) -> None:
    if reply.status < 200:  # another answer would follow, and be taken for the next request's
        raise EgressError("INFORMATIONAL_STATUS", f"The answer is an informational {reply.status}.")
    if reply.status > 599:
        raise EgressError("BAD_STATUS", f"The answer has the status {reply.status}, which HTTP does not know.")
    lengths = reply.msg.get_all("content-length", [])
    if len(lengths) > 1:
        raise EgressError("AMBIGUOUS_LENGTH", f"The answer has {len(lengths)} Content-Length headers.")


def _body(reply: Reply) -> tuple[bytes, bool]:
    """Return the beginning of the body, and whether it is all of it."""
    length = reply.length
    wanted = BODY_LIMIT if length is None else min(length, BODY_LIMIT)
    body = b""
    try:
        while len(body) < wanted and (more := reply.read1(wanted - len(body))):
            body += more
    except _FAILURES:
        return body, False
    return body, len(body) == length if length is not None else len(body) < wanted


def _is_unambiguous(reply: Reply) -> bool:
    """Return whether it is beyond doubt where the answer ended, and nothing came after it."""
    framings = sum(name in reply.msg for name in ("content-length", "transfer-encoding"))
    return framings < 2 and not (reply.will_close or reply.followed or reply.msg.defects)


def _response(request: requests.PreparedRequest, reply: Reply, body: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code, response.reason = reply.status, reply.reason
    response.headers = CaseInsensitiveDict(reply.getheaders())
    response.request, response.url = request, str(request.url)
    response.raw, response._content = BytesIO(body), body  # read already: `content` need not
    return response


def _explained(error: Exception, attempt: Attempt) -> EgressError:
    """Return the class of failure that `error` is an instance of."""
    detail = _legible(str(error)[:500]) or type(error).__name__
    if attempt.over or isinstance(error, TimeoutError):
        return EgressError("TIMEOUT", "The receiver did not answer in time.")
    match error:
        case EgressError():
            return error
        case ssl.SSLError():
            return EgressError("TLS_FAILED", detail)
        case OSError():
            return EgressError("CONNECTION_LOST", detail)
        case LineTooLong():
            return EgressError("HEADERS_TOO_LARGE", detail)
        case BadStatusLine() if detail.startswith("HTTP/1."):
            return EgressError("BAD_STATUS", detail)
        case BadStatusLine() | UnknownProtocol():
            return EgressError("NOT_HTTP", detail)
        case HTTPException() if type(error) is HTTPException:  # too many, or too much of them
            return EgressError("HEADERS_TOO_LARGE", detail)
    return EgressError("BAD_RESPONSE", detail)


def _legible(text: str) -> str:
    """Return `text`, which may repeat what a receiver said, as it can be stored and shown on a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@lru_cache(1)
def _tls_context(authorities: str, client_cert: str) -> ssl.SSLContext:
    """Return how receivers are checked: by the public authorities and those of the PEM file `authorities`."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    try:
        if authorities:
            context.load_verify_locations(authorities)
        if client_cert:
            context.load_cert_chain(client_cert)
    except OSError as error:
        names = "EVENT_SERVICE_EGRESS_CA and EVENT_SERVICE_EGRESS_CLIENT_CERT"
        raise ImproperlyConfigured(f"{names} have to be readable PEM files: {error}.") from error
    return context
