"""What the server asks of every request, and says with every answer, whatever the application."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from django.http.request import split_domain_port, validate_host

Headers = Sequence[tuple[bytes, bytes]]

_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
# What is no page runs nothing and shows nothing; what a person or a browser's tool does in it may talk to us. Of pages
# this is the least: most have a policy of their own.
_POLICY = b"default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_POLICY_OF_PAGES = b"object-src 'none'; base-uri 'none'; frame-ancestors 'none'"


_MAPPED = "::ffff:"


@dataclass(frozen=True)
class Edge:
    hosts: Sequence[str] = ("*",)  # as ALLOWED_HOSTS
    proxies: Sequence[IPv4Network | IPv6Network] = ()  # whose word on where a request came from is taken
    hsts_s: int = 0
    connections: int = 10_000  # at once, but for websockets
    connections_per_address: int = 0  # of these; 0: no limit. Proxies have none

    def problem(self, hosts: Sequence[bytes]) -> str | None:
        """Return what is wrong with a request's Host headers."""
        if len(hosts) != 1:
            return f"A request has one Host header, and not {len(hosts)}."
        host = hosts[0].decode("latin-1")
        if validate_host(split_domain_port(host)[0], self.hosts):
            return None
        return f"Host {host!r:.100} is not served here; ALLOWED_HOSTS names those that are."

    def seen(self, scope: dict[str, Any]) -> dict[str, Any]:
        """Return the scope with the client and the scheme that a proxy of ours tells of."""
        client = scope.get("client")
        if not client:
            return scope
        peer = unmapped(client[0])
        if not self.trusts(peer):
            return scope if peer == client[0] else {**scope, "client": [peer, client[1]]}
        told: dict[str, Any] = {"client": [self._client(peer, _values(scope, b"x-forwarded-for")), client[1]]}
        if scope["type"] == "http" and _values(scope, b"x-forwarded-proto")[-1:] == ["https"]:
            told["scheme"] = "https"
        return {**scope, **told}

    def trusts(self, address: str) -> bool:
        return (
            bool(self.proxies) and _is_address(address) and any(ip_address(address) in proxy for proxy in self.proxies)
        )

    def _client(self, peer: str, hops: list[str]) -> str:
        """Return the last address that no proxy of ours has: what stands before it, anybody may have written."""
        while hops and self.trusts(peer) and _is_address(hops[-1]):
            peer = unmapped(hops.pop())
        return peer

    def missing(self, headers: Headers) -> Iterator[tuple[bytes, bytes]]:
        """Return what every answer says and these headers don't."""
        given = {name.lower(): value for name, value in headers}
        for name, value in self.always.items():
            if name not in given:
                yield name, value
        if b"content-security-policy" not in given:
            is_page = given.get(b"content-type", b"").startswith(b"text/html")
            yield b"content-security-policy", _POLICY_OF_PAGES if is_page else _POLICY

    @cached_property
    def always(self) -> Mapping[bytes, bytes]:
        if not self.hsts_s:
            return _ALWAYS
        return {**_ALWAYS, b"strict-transport-security": b"max-age=%d; includeSubDomains" % self.hsts_s}

    def as_text(self) -> dict[str, str]:
        """Return all of them for an answer without a body of its own."""
        return {name.decode(): value.decode() for name, value in self.missing([])}


def _values(scope: dict[str, Any], name: bytes) -> list[str]:
    given = b",".join(value for known, value in scope["headers"] if known == name)
    return [value.strip() for value in given.decode("latin-1").split(",")] if given else []


def unmapped(address: str) -> str:
    """Return the IPv4 address of a client of a socket for both families: ::ffff:192.0.2.1 there (RFC 4291, 2.5.5.2)."""
    return address[len(_MAPPED) :] if address.startswith(_MAPPED) and "." in address else address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
