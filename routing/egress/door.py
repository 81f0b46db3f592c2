"""One bounded exchange with a receiver. Nothing of the environment takes part: no proxy, netrc, cookie or bundle."""

import ssl
from collections.abc import Mapping
from functools import lru_cache
from http.client import BadStatusLine, HTTPException, LineTooLong, UnknownProtocol
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from routing.egress.answers import FAILURES, Answer
from routing.egress.connections import Connection, PlainConnection, Pool, Request, TLSConnection, ask
from routing.egress.dialling import Proxy
from routing.egress.errors import EgressError
from routing.egress.targets import Target, target_of
from routing.egress.watchdog import Attempt, Watchdog


class Door:
    """Sends requests over connections that it keeps. One serves all threads of a process, the one that made it."""

    def __init__(self) -> None:
        self.pool = Pool()
        self.watchdog = Watchdog()
        self.proxy = Proxy.of(settings.EGRESS_PROXY)
        self.tls = _tls_context(settings.EGRESS_CA, settings.EGRESS_CLIENT_CERT)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, workspace_id: UUID, deadline_s: float
    ) -> Answer:
        """Send one request and return its answer, whatever the status, within `deadline_s`. Raises EgressError.

        Status line and headers decide: of a body that is cut short or endless, what came is returned.
        """
        attempt = self.watchdog.start(deadline_s)
        try:
            return self._exchange(Request(method, target_of(url), headers, body), workspace_id, attempt)
        except (EgressError, *FAILURES) as failure:
            raise _explained(failure, attempt) from failure
        finally:
            self.watchdog.finish(attempt)

    def close(self) -> None:
        self.watchdog.close()
        self.pool.close()

    def _exchange(self, request: Request, workspace_id: UUID, attempt: Attempt) -> Answer:
        origin = (workspace_id, request.target.scheme, request.target.host, request.target.port)
        if kept := self.pool.take(origin):
            try:
                return self._over(kept, origin, request, attempt)
            except ConnectionError:
                if attempt.over:
                    raise
                # The receiver closed the connection as it was taken: no answer came, and none will.
        return self._over(self._connection(request.target), origin, request, attempt)

    def _connection(self, target: Target) -> Connection:
        connection: Connection
        if target.scheme == "https":
            connection = TLSConnection(target.host, target.port, ssl_context=self.tls)
        else:
            connection = PlainConnection(target.host, target.port)
        connection.through = self.proxy
        return connection

    def _over(
        self, connection: Connection, origin: tuple[UUID, str, str, int], request: Request, attempt: Attempt
    ) -> Answer:
        """Make the exchange over `connection`, and keep it if nothing of the exchange can reach the next one."""
        ended = False
        try:
            answer = ask(connection, attempt, request)
            ended = answer.ended
        finally:
            attempt.finish()  # before others may have the connection, or its number
            if ended:
                self.pool.give(origin, connection)
            else:
                connection.close()
        return answer


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
