"""From a name to a connected socket: resolved once, every address judged, and no other address dialled."""

import base64
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Self

from django.core.exceptions import ImproperlyConfigured
from urllib3.util import parse_url

from routing.egress.addresses import refusal
from routing.egress.errors import EgressError
from routing.egress.watchdog import Attempt

CONNECT_TIMEOUT_S = 5
_TRIED = 4  # addresses of one name
_HEAD_LIMIT = 16 * 1024  # bytes of a proxy's answer

_Address = tuple[socket.AddressFamily, Any]


class Proxy(NamedTuple):
    """The installation's own proxy. It gets addresses that were judged here, never a name to resolve."""

    host: str
    port: int
    authorization: str

    @classmethod
    def of(cls, url: str) -> Self | None:
        if not url:
            return None
        parts = parse_url(url)
        if parts.scheme != "http" or not parts.host or not parts.port:
            raise ImproperlyConfigured(f"EVENT_SERVICE_EGRESS_PROXY {url!r} is not http://HOST:PORT.")
        token = base64.b64encode((parts.auth or "").encode()).decode()
        return cls(parts.host.strip("[]"), parts.port, f"Proxy-Authorization: Basic {token}\r\n" if parts.auth else "")


def dial(host: str, port: int, attempt: Attempt, proxy: Proxy | None) -> socket.socket:
    """Return a connection to `host`, watched by `attempt`. Raises EgressError."""
    judged = _in_time(attempt, lambda: _judged(host, port))
    if proxy is None:
        dialled = _connect(judged, attempt)
        attempt.watch(dialled)
        return dialled
    dialled = _connect(_in_time(attempt, lambda: _resolved(proxy.host, proxy.port)), attempt)
    attempt.watch(dialled)
    dialled.settimeout(None)  # the watchdog's is the only clock now
    return _tunnelled(dialled, judged[0], proxy)


def _in_time(attempt: Attempt, look_up: Callable[[], Sequence[_Address]]) -> Sequence[_Address]:
    """Wait for `look_up` in a thread of its own: nothing can interrupt getaddrinfo, but it need not be waited for."""
    found: Future[Sequence[_Address]] = Future()

    def run() -> None:
        try:
            found.set_result(look_up())
        except Exception as error:  # raised again below, in the thread that asked
            found.set_exception(error)

    threading.Thread(target=run, name="resolver", daemon=True).start()
    try:
        return found.result(attempt.left_s())
    except TimeoutError:
        raise EgressError("TIMEOUT", "The receiver did not answer in time.") from None


def _judged(host: str, port: int) -> Sequence[_Address]:
    """Return the addresses of `host`, if every one of them may be dialled."""
    addresses = _resolved(host, port)
    for _, address in addresses:
        if code := refusal(address[0], port):
            raise EgressError(code, f"{host} is at {address[0]}, and port {port} there may not be reached.")
    return addresses


def _resolved(host: str, port: int) -> Sequence[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EgressError("DNS_FAILED", f"{host} does not resolve: {error}.") from error
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _connect(addresses: Sequence[_Address], attempt: Attempt) -> socket.socket:
    """Return a connection to the first address that answers; each gets its share of the time."""
    tried = addresses[:_TRIED]
    give_up_at = min(time.monotonic() + CONNECT_TIMEOUT_S, attempt.ends_at)
    failure: OSError | None = None
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        try:
            return _connected(address, max((give_up_at - time.monotonic()) / left, 0.001))
        except OSError as error:
            failure = error
    attempt.left_s()  # raises where it was the deadline that came first
    host, port = tried[-1][1][:2]
    raise EgressError("CONNECT_FAILED", f"Port {port} of {host} can't be reached: {failure}.") from failure


def _connected(target: _Address, within_s: float) -> socket.socket:
    family, address = target
    dialled = socket.socket(family, socket.SOCK_STREAM)
    try:
        dialled.settimeout(within_s)
        dialled.connect(address)
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if dialled.getpeername()[0] != address[0]:  # 0.0.0.0 leads to 127.0.0.1, for one
            raise EgressError("ADDRESS_REFUSED", f"{address[0]} led to {dialled.getpeername()[0]}.")
    except BaseException:
        dialled.close()
        raise
    return dialled


def _tunnelled(dialled: socket.socket, target: _Address, proxy: Proxy) -> socket.socket:
    """Have `proxy`, at the other end of `dialled`, connect to the judged address."""
    host, port = target[1][:2]
    place = f"[{host}]:{port}" if target[0] == socket.AF_INET6 else f"{host}:{port}"
    try:
        dialled.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{proxy.authorization}\r\n".encode())
        head = _head(dialled)
    except OSError as error:
        dialled.close()
        raise EgressError("PROXY_FAILED", f"The egress proxy hung up on {place}: {error}.") from error
    if not re.match(rb"HTTP/1\.. 2\d\d ", head) or not head.endswith(b"\r\n\r\n"):
        dialled.close()
        raise EgressError("PROXY_FAILED", f"The egress proxy did not connect to {place}: {head[:100]!r}.")
    return dialled


def _head(dialled: socket.socket) -> bytes:
    """Return what comes until an empty line: a proxy that has connected says no more than that."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_LIMIT and (more := dialled.recv(_HEAD_LIMIT)):
        head += more
    return head
