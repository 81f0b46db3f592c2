"""The door to the outside: which addresses may be dialled, and one bounded exchange with what answers there."""

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

BODY_LIMIT = 16 * 1024  # bytes of an answer that are read
CONNECT_TIMEOUT_S = 5
_ORIGINS = 32  # to which one door keeps connections open

# Internal, shared, documentation and multicast ranges of IPv4, and a cloud's metadata service on a public address.
_DENIED_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    )
]
# Of IPv6 only global unicast, less what it sets aside for tunnels and documentation.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = [ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]


class EgressError(Exception):
    """An exchange that came to nothing. `code` is its class of failure, for people and statistics."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Answer:
    status_code: int
    headers: Mapping[str, str]
    body: bytes  # its first 16 KiB, not decoded


class Door:
    """Sends requests over connections that it keeps. For one thread."""

    def __init__(self) -> None:
        self._adapter = _Adapter(pool_connections=_ORIGINS, pool_maxsize=1, max_retries=Retry(0, read=False))

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float) -> Answer:
        """Send one request and return its answer, whatever the status. Raises EgressError.

        No redirect is followed; no proxy, cookie or netrc of the environment is used.
        """
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, _wire_url(url), body or None
        request.headers = cast(Any, headers)  # ready as it is: it only has to be iterated
        timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        try:
            response = self._adapter.send(request, stream=True, timeout=cast(Any, timeout), verify=True)
            return _read(response)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _explained(error) from error

    def close(self) -> None:
        self._adapter.close()


@lru_cache(4096)
def judge(address: str) -> bool:
    """Return whether `address`, an IP address, may be dialled."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if any(ip in network for network in settings.EGRESS_ALLOW):
        return True
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _DENIED_V4)
    return ip in _GLOBAL_V6 and not any(ip in network for network in _DENIED_V6)


class _Judged:
    """A connection that dials only an address it has judged: the name is resolved once, here."""

    host: str
    port: int
    timeout: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        addresses = self._resolve()
        for _, address in addresses:
            if not judge(address[0]):
                raise EgressError("ADDRESS_REFUSED", f"{self.host} is at an address that webhooks may not reach.")
        return self._dial(addresses)

    def _resolve(self) -> Sequence[tuple[socket.AddressFamily, Any]]:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise EgressError("DNS_FAILED", f"{self.host} does not resolve: {error}.") from error
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))

    def _dial(self, addresses: Sequence[tuple[socket.AddressFamily, Any]]) -> socket.socket:
        error: OSError | None = None
        for family, address in addresses:
            dialled = socket.socket(family, socket.SOCK_STREAM)
            try:
                dialled.settimeout(CONNECT_TIMEOUT_S)
                dialled.connect(address)
                dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as failure:
                dialled.close()
                error = failure
            else:
                return dialled
        raise EgressError("CONNECT_FAILED", f"{self.host}:{self.port} can't be reached: {error}.") from error


class _Connection(_Judged, HTTPConnection):
    pass


class _TLSConnection(_Judged, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


@lru_cache(4096)
def _wire_url(url: str) -> str:
    """Return `url` as it goes on the wire: its host in IDNA, its path percent-encoded."""
    request = requests.PreparedRequest()
    request.prepare_url(url, None)
    assert request.url is not None
    return request.url


def _read(response: requests.Response) -> Answer:
    raw = response.raw
    try:
        if response.status_code < 200:  # another answer would follow and be taken for the next request's
            raise EgressError("BAD_RESPONSE", f"The answer is an informational {response.status_code}.")
        body = raw.read(BODY_LIMIT, decode_content=False)
        complete = raw.isclosed() or not raw.read(1, decode_content=False)
    except BaseException:
        raw.close()
        raise
    if not complete:
        raw.close()  # a connection with an unread rest can't be used again
    raw.release_conn()
    return Answer(response.status_code, response.headers, body)


def _explained(error: BaseException) -> EgressError:
    cause: BaseException | None = error
    seen = []
    while cause is not None:
        if isinstance(cause, EgressError):
            return cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    detail = str(seen[-1])[:500] or type(seen[-1]).__name__
    if any(isinstance(found, requests.exceptions.SSLError) for found in seen):
        return EgressError("TLS_FAILED", detail)
    if any(isinstance(found, requests.Timeout | TimeoutError) for found in seen):
        return EgressError("TIMEOUT", "The receiver did not answer in time.")
    if any(isinstance(found, ConnectionError) for found in seen):
        return EgressError("CONNECTION_LOST", detail)
    return EgressError("BAD_RESPONSE", detail)
