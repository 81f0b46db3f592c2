"""A network of its own: internal addresses with canaries, public ones with receivers, and a name server that lies."""

import os
import pickle
import socket
import ssl
import struct
import subprocess
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.certificates import DAY, Authority, tls_server
from tests.receiver import answer
from tests.test_hostile_receivers import HOSTILE

PUBLIC, PUBLIC_V6 = "93.184.216.34", "2606:2800:220:1::1"
OWN = "93.184.216.40"  # this host's, on an interface
DATABASE = "93.184.216.50"
DROPPED = "93.184.217.1"  # SYNs to it go nowhere
METADATA = "169.254.169.254"
INTERNAL = [
    *("127.0.0.1", "10.0.0.5", "100.64.0.1", "168.63.129.16", METADATA, "172.16.0.1", "192.0.0.192", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "::1", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1"),
    *("fc00::1", "fd00:ec2::254", "fec0::1"),
]
PORTS = (80, 443, 8080, 8443, 22, 25, 3128, 5432, 6379, 11211)
TLS_PORT = 443

_RECORDS: Mapping[str, list[str]] = {
    "receiver.example": [PUBLIC, PUBLIC_V6],
    "other.example": [PUBLIC],
    "old.example": [PUBLIC],
    "stranger.example": [PUBLIC],
    "metadata.google.internal": [METADATA],
    "internal.example": ["10.0.0.5"],
    "first.example": [PUBLIC, "10.0.0.5"],
    "last.example": ["10.0.0.5", PUBLIC],
    "mixed.example": [PUBLIC, "fd00:ec2::254"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "many.example": [*(f"93.184.216.{n}" for n in range(100, 199)), METADATA],
    "own.example": [OWN],
    "database.example": [DATABASE],
    "dropped.example": [DROPPED],
}
_ALIASES = {"alias.example": ("localhost", "127.0.0.1"), "alias-in.example": ("internal.example", "10.0.0.5")}
_TURNING = {"turning.example": (PUBLIC, METADATA), "turning-home.example": (PUBLIC, "127.0.0.1")}
SILENT = "silent.example"  # its name server never answers


class Rig:
    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []  # heads of what the receivers were sent
        self.authority = Authority(folder)
        self._canaries: list[int] = []  # the far ports of connections that internal addresses got
        self._changed = threading.Condition()
        self._tls = _context(self.authority, Authority(folder, "Stranger"))
        _make_network(folder)
        threading.Thread(target=_answer_questions, args=[_name_server()], daemon=True).start()
        for port in PORTS:
            listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
            threading.Thread(target=self._listen, args=[listener], daemon=True).start()

    def reached(self) -> int:
        """Return how many connections internal addresses got since the last time."""
        fences = [socket.create_connection(("127.0.0.1", port)) for port in PORTS]  # each after all that came before
        ports = {fence.getsockname()[1] for fence in fences}
        with self._changed:
            assert self._changed.wait_for(lambda: ports <= set(self._canaries), 10), "A canary does not answer"
            count = len(self._canaries) - len(fences)
            self._canaries.clear()
        for fence in fences:
            fence.close()
        return count

    def _listen(self, listener: socket.socket) -> None:
        while True:
            connection, (_, port, *_) = listener.accept()
            address = ip_address(connection.getsockname()[0])
            if str(address.ipv4_mapped or address) in (PUBLIC, PUBLIC_V6):
                threading.Thread(target=self._receive, args=[connection], daemon=True).start()
                continue
            with self._changed:
                self._canaries.append(port)
                self._changed.notify_all()
            connection.close()

    def _receive(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if connection.getsockname()[1] == TLS_PORT:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                head = b"".join(iter(reader.readline, b"\r\n")).decode()
                reader.read(2)  # the body of every request here
                self.requests.append(head)
                _speak(connection, unquote(head.split()[1]))


def _speak(connection: socket.socket, path: str) -> None:
    kind, _, rest = path.strip("/").partition("/")
    if kind == "hostile":
        HOSTILE[rest][0](connection)
    elif kind == "redirect":
        status, _, location = rest.partition("/")
        connection.sendall(answer(int(status), b"", f"Location: {location}", "Connection: close"))
    else:
        connection.sendall(answer(200, b"", "Connection: close"))


def in_child(work: Callable[[], Any], uid: int = 0) -> Any:
    """Return what `work` returns in a process of its own, which runs as `uid`."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setresuid(uid, uid, uid)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(work(), pipe)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(result)


def run(*commands: str) -> None:
    for command in commands:
        subprocess.run(command, shell=True, check=True)


def _make_network(folder: Path) -> None:
    run("ip link set lo up", "ip link add own0 type veth peer name own1", "ip link set own0 up", "ip link set own1 up")
    for address in {*INTERNAL, PUBLIC, PUBLIC_V6, DATABASE} - {"127.0.0.1", "::1"}:  # which are there
        run(f"ip address add {address} dev lo {'nodad' if ':' in address else ''}")
    run(f"ip address add {OWN} dev own0")
    run(f"ip route add {DROPPED} dev own0", f"ip neighbour add {DROPPED} lladdr 02:00:00:00:00:01 dev own0")
    for name, text in {
        "resolv.conf": "nameserver 127.0.0.1\n",
        "nsswitch.conf": "hosts: files dns\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n10.0.0.5 intranet.example\n",
    }.items():
        (folder / name).write_text(text)
        run(f"mount --bind {folder / name} /etc/{name}")


def _context(authority: Authority, stranger: Authority) -> ssl.SSLContext:
    """Return who the receiver says it is: one name is right, and each of the others wrong in its own way."""
    contexts = {
        "receiver.example": tls_server(authority.issue("receiver.example")),
        "other.example": tls_server(authority.issue("receiver.example")),
        "old.example": tls_server(authority.issue("old.example", valid_for=-DAY)),
        "stranger.example": tls_server(stranger.issue("stranger.example")),
    }

    def by_name(connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name in contexts:
            connection.context = contexts[name]

    context = tls_server(authority.issue(PUBLIC))
    context.sni_callback = by_name
    return context


# --- the name server


def _name_server() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    return server


def _answer_questions(server: socket.socket) -> None:
    asked: Counter[str] = Counter()
    while True:
        question, client = server.recvfrom(4096)
        name, type_, end = _question(question)
        if name == SILENT:
            continue
        asked[name] += type_ == 1
        records = _records(name, asked[name])
        wanted = [record for record in records if record[0] in (type_, 5)]
        flags = 0x8180 if records else 0x8183  # NXDOMAIN
        head = question[:2] + struct.pack("!5H", flags, 1, len(wanted), 0, 0)
        server.sendto(head + question[12:end] + b"".join(_record(*record) for record in wanted), client)


def _question(packet: bytes) -> tuple[str, int, int]:
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), struct.unpack_from("!H", packet, at + 1)[0], at + 5


def _records(name: str, times: int) -> list[tuple[int, str, bytes]]:
    """Return what `name` has, as type, owner and data; some turn with each time that they are asked for."""
    if name in _ALIASES:
        target, address = _ALIASES[name]
        return [(5, name, _labels(target)), *_addresses(target, [address])]
    if name in _TURNING:
        return _addresses(name, [_TURNING[name][(times + 1) % 2]])
    return _addresses(name, _RECORDS.get(name, []))


def _addresses(name: str, addresses: list[str]) -> list[tuple[int, str, bytes]]:
    ips = map(ip_address, addresses)
    return [(1 if ip.version == 4 else 28, name, ip.packed) for ip in ips]


def _record(type_: int, name: str, data: bytes) -> bytes:
    return _labels(name) + struct.pack("!2HIH", type_, 1, 0, len(data)) + data  # not to be remembered: TTL 0


def _labels(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
