"""Which addresses and ports may be dialled."""

import ipaddress
import socket
import time
from functools import lru_cache

import psutil
from django.conf import settings

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

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
_OWN_FOR_S = 60  # how long the own addresses are remembered


def refusal(address: str, port: int) -> str:
    """Return why `port` at `address` may not be dialled, as a code, or "" where it may."""
    ip = _ip(address)
    if _allowed(ip):
        return ""
    if not judge(address) or ip in _own_addresses(int(time.monotonic() / _OWN_FOR_S)):
        return "ADDRESS_REFUSED"
    return "" if port in settings.EGRESS_PORTS else "PORT_REFUSED"


@lru_cache(4096)
def judge(address: str) -> bool:
    """Return whether `address`, an IP address, may be dialled as far as its network goes."""
    ip = _ip(address)
    if _allowed(ip):
        return True
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _DENIED_V4)
    return ip in _GLOBAL_V6 and not any(ip in network for network in _DENIED_V6)


def _allowed(ip: _Ip) -> bool:
    return any(ip in network for network in settings.EGRESS_ALLOW)


def _ip(address: str) -> _Ip:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


@lru_cache(1)
def _own_addresses(_minute: int) -> frozenset[_Ip]:
    """Return the public addresses of this host and of the database. They may change: ask again each minute.

    What stands on the loopback interface is left out: it is an address that this host shares with others.
    """
    loopback = {name for name, state in psutil.net_if_stats().items() if "loopback" in state.flags.split(",")}
    return _database_addresses() | {
        _ip(found.address)
        for name, addresses in psutil.net_if_addrs().items()
        for found in addresses
        if name not in loopback and found.family in (socket.AF_INET, socket.AF_INET6)
    }


def _database_addresses() -> frozenset[_Ip]:
    hosts = [host for host in settings.DATABASES["default"].get("HOST", "").split(",") if host]
    return frozenset(
        _ip(str(found[4][0]))
        for host in hosts
        if not host.startswith(("/", "@"))  # a socket in the file system
        for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    )
