"""What webhooks may reach, tried for real. To be run by script/egress, in a network namespace of its own."""

import logging
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

import django
import psutil
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "event_service.settings")
django.setup()

from endpoints.checks import checked_url  # noqa: E402 - Django has to be ready
from endpoints.errors import BadInput  # noqa: E402
from routing.egress import Door, EgressError, dialling  # noqa: E402
from tests.egress.rig import (  # noqa: E402
    DROPPED,
    INTERNAL,
    METADATA,
    OWN,
    PORTS,
    PUBLIC,
    PUBLIC_V6,
    SILENT,
    Rig,
    in_child,
    run,
)
from tests.test_hostile_receivers import HOSTILE  # noqa: E402

URLS = [
    *(f"http://{host}/" for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0")),
    *(f"http://{host}/" for host in ("localhost", "localhost.", "LOCALHOST", "127.0.0.1.", "[::1]", "[::]")),
    *(f"http://{host}/" for host in ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1%25lo]")),
    *(f"http://{address}/" for address in INTERNAL if ":" not in address),
    *(f"http://[{address}]/" for address in INTERNAL if ":" in address),
    *(f"https://{host}/" for host in ("127.0.0.1", METADATA, "[fd00:ec2::254]", "internal.example")),
    *("http://169.254.169.254/latest/meta-data/", "http://224.0.0.1/", "http://[ff02::1]/", "http://255.255.255.255/"),
    *(f"http://{host}/" for host in ("metadata.google.internal", "internal.example", "intranet.example")),
    *(f"http://{host}/" for host in ("alias.example", "alias-in.example", "mapped.example", "many.example")),
    *(f"http://{host}/" for host in ("first.example", "last.example", "mixed.example", "nobody.example")),
    # What two parsers may read in two ways.
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1@receiver.example/",
    "http://127.0.0.1\\@receiver.example/",
    "http://receiver.example\\@127.0.0.1/",
    "http://127.0.0.1#@receiver.example/",
    "http://127.0.0.1?@receiver.example/",
    "http://127.0.0.1:0x50/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1%2f@receiver.example/",
    "http://127.0.0.1\t.receiver.example/",
    "http://①②⑦.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
]
REDIRECTS = [
    f"/redirect/{status}/{location}"
    for status in (301, 302, 303, 307, 308)
    for location in (f"http://{METADATA}/", "http://127.0.0.1/", "/again", "file:///etc/passwd", "gopher://127.0.0.1/")
]
TRIES = 200
DEADLINE_S = 1.0
MARGIN_S = 0.5
RSS_LIMIT = 20 * 1024 * 1024
USER, SERVED = 4242, 8000  # whom the second wall stands around, and where that user listens
WORKSPACE = UUID(int=1)

Outcome = int | str  # a status, or the class of an error
failures: list[str] = []


def row(what: str, figure: str, ok: bool) -> None:
    print(f"{'ok  ' if ok else 'FAIL'}  {what:<64} {figure}", flush=True)
    if not ok:
        failures.append(what)


def send(door: Door, url: str, deadline_s: float = DEADLINE_S) -> Outcome:
    try:
        return door.send(
            "POST", url, {"Content-Length": "2"}, b"{}", workspace_id=WORKSPACE, deadline_s=deadline_s
        ).status_code
    except EgressError as error:
        return error.code
    except Exception as error:  # what must not be: a row shows it
        return f"UNHANDLED {error!r}"


def sent(urls: Iterable[str]) -> list[Outcome]:
    door = Door()
    return [send(door, url) for url in urls]


def main() -> int:
    logging.getLogger("routing.egress").setLevel(logging.ERROR)  # each refusal is a line of the log
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        rig = Rig(Path(folder))
        settings.EGRESS_CA = str(rig.authority.pem)
        the_rig_works(rig)
        addresses(rig)
        surroundings(rig)
        receivers(rig)
        hostile_receivers()
        without_the_guard(rig)
    print(f"\n{len(failures)} failed" if failures else "\nall passed")
    return 1 if failures else 0


def the_rig_works(rig: Rig) -> None:
    for address in INTERNAL:
        socket.create_connection((address, 80), 1).close()
    count = rig.reached()
    row("canaries that answer where nobody guards them", f"{count}/{len(INTERNAL)}", count == len(INTERNAL))


def addresses(rig: Rig) -> None:
    refused_at_creation = [url for url in URLS if not _may_be_created(url)]
    outcomes = in_child(lambda: sent(URLS))
    refused = sum(isinstance(outcome, str) for outcome in outcomes)
    count = rig.reached()
    row("URLs: refused when sent", f"{refused}/{len(URLS)}: {dict(Counter(outcomes))}", refused == len(URLS))
    row("URLs: of these refused at creation", f"{len(refused_at_creation)}/{len(URLS)}", bool(refused_at_creation))
    row("URLs: canary connections", f"{count}", count == 0)

    for name in ("turning.example", "turning-home.example"):
        outcomes = Counter(in_child(lambda name=name: sent([f"http://{name}/"] * TRIES)))
        count = rig.reached()
        both = set(outcomes) == {200, "ADDRESS_REFUSED"}
        row(f"{name}: canary connections of {TRIES} sends", f"{count}: {dict(outcomes)}", count == 0 and both)

    rig.requests.clear()
    outcomes = in_child(lambda: sent(f"http://receiver.example{path}" for path in REDIRECTS))
    as_told = sum(str(outcome) in path for outcome, path in zip(outcomes, REDIRECTS, strict=True))
    count, total = rig.reached(), len(REDIRECTS)
    row("redirects: recorded with their status", f"{as_told}/{total}", as_told == total)
    row("redirects: requests in all", f"{len(rig.requests)}", len(rig.requests) == total)
    row("redirects: canary connections", f"{count}", count == 0)

    refused_ports = [port for port in (*PORTS, 0, 65536) if port not in settings.EGRESS_PORTS]
    outcomes = in_child(lambda: sent(f"http://receiver.example:{port}/" for port in refused_ports))
    ok = set(outcomes) <= {"PORT_REFUSED", "BAD_URL"}
    row("ports: refused", f"{len(outcomes)}: {dict(Counter(outcomes))}", ok)


def _may_be_created(url: str) -> bool:
    try:
        checked_url(url)
    except BadInput:
        return False
    return True


def surroundings(rig: Rig) -> None:
    """This host, its database, and what the environment says."""
    settings.DATABASES["default"]["HOST"] = "database.example"
    urls = [f"{url}/" for url in (f"http://{OWN}", "http://own.example:8080", "http://database.example")]
    outcomes = in_child(lambda: sent(urls))
    count = rig.reached()
    settings.DATABASES["default"]["HOST"] = ""
    row("this host's address and the database's", f"{outcomes}", set(outcomes) == {"ADDRESS_REFUSED"} and count == 0)

    netrc = Path(tempfile.mkdtemp()) / "netrc"
    netrc.write_text("machine receiver.example login us password secret\n")
    proxy = f"http://{METADATA}:3128"
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    os.environ |= dict.fromkeys(names, proxy) | {"NETRC": str(netrc), "REQUESTS_CA_BUNDLE": str(netrc)}
    rig.requests.clear()
    outcomes = in_child(lambda: sent(["http://receiver.example/", "https://receiver.example/"]))
    count = rig.reached()
    authorized = sum("authorization" in head.lower() for head in rig.requests)
    for name in (*names, "NETRC", "REQUESTS_CA_BUNDLE"):
        del os.environ[name]
    ok = outcomes == [200, 200] and (count, authorized) == (0, 0)
    row("proxies, netrc and bundle of the environment: used", f"{count + authorized}: {outcomes}", ok)


def receivers(rig: Rig) -> None:
    """The other side of the boundary: what must work."""
    urls = [
        *("http://receiver.example/", "http://receiver.example:8080/", "https://receiver.example/"),
        *(f"http://{PUBLIC}/", f"https://{PUBLIC}/", f"http://[{PUBLIC_V6}]/", f"http://{int(ip_address(PUBLIC))}/"),
    ]
    outcomes = in_child(lambda: sent(urls))
    row("public receivers that are reached", f"{outcomes.count(200)}/{len(urls)}", set(outcomes) == {200})

    names = ["other.example", "old.example", "stranger.example"]
    outcomes = in_child(lambda: sent(f"https://{name}/" for name in names))
    row("another name's, expired and unknown certificates", f"{outcomes}", set(outcomes) == {"TLS_FAILED"})

    for what, url, deadline_s, expected, limit_s in (
        ("a name server that does not answer", f"http://{SILENT}/", DEADLINE_S, "TIMEOUT", DEADLINE_S),
        ("an address that drops SYNs, at the deadline", f"http://{DROPPED}/", DEADLINE_S, "TIMEOUT", DEADLINE_S),
        ("an address that drops SYNs, at the connect limit", f"http://{DROPPED}/", 30, "CONNECT_FAILED", 5),
    ):
        outcome, took_s = in_child(lambda url=url, deadline_s=deadline_s: timed(Door(), url, deadline_s))
        ok = outcome == expected and took_s <= limit_s + MARGIN_S
        row(what, f"{outcome} after {took_s:.2f} s, limit {limit_s} + {MARGIN_S} s", ok)


def timed(door: Door, url: str, deadline_s: float) -> tuple[Outcome, float]:
    started = time.monotonic()
    return send(door, url, deadline_s), time.monotonic() - started


def hostile_receivers() -> None:
    results, grown = in_child(_hostile)
    wrong = {name: got for name, (got, _) in results.items() if got != HOSTILE[name][1]}
    longest_s = max(took_s for _, took_s in results.values())
    classes = len({got for got, _ in results.values()})
    figure = f"{len(results) - len(wrong)}/{len(results)} in {classes} classes {wrong or ''}"
    row("hostile receivers: each in its class, no exception unhandled", figure, not wrong)
    limit_s = DEADLINE_S + MARGIN_S
    row("hostile receivers: the longest attempt", f"{longest_s:.2f} s, limit {limit_s} s", longest_s <= limit_s)
    row("hostile receivers: memory grew by", f"{grown / 2**20:.1f} MiB, limit 20 MiB", grown <= RSS_LIMIT)


def _hostile() -> tuple[dict[str, tuple[Outcome, float]], int]:
    door = Door()
    send(door, f"http://{PUBLIC}/")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = psutil.Process().memory_info().rss
    results = {name: timed(door, f"http://{PUBLIC}/hostile/{name.replace(' ', '%20')}", DEADLINE_S) for name in HOSTILE}
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return results, int(peak_kib) * 1024 - before


def without_the_guard(rig: Rig) -> None:
    urls = [*URLS, *["http://turning.example/"] * TRIES, *(f"http://receiver.example{path}" for path in REDIRECTS)]
    rig.reached()
    in_child(lambda: unguarded(urls))
    count = rig.reached()
    row("guard off: canary connections, so it is the guard that holds", f"{count} of {len(urls)} sends", count > 0)

    run(second_wall())
    outcomes = in_child(lambda: unguarded(urls), uid=USER)
    count, delivered = rig.reached(), outcomes.count(200)
    row("guard off, second wall: canary connections", f"{count} of {len(urls)} sends", count == 0)
    row("guard off, second wall: public receivers that are reached", f"{delivered}", delivered >= TRIES // 2)
    answered = _is_answered_from_within()
    row("second wall: internal clients are answered by the served port", f"{answered}", answered)


def _is_answered_from_within() -> bool:
    with socket.create_server(("10.0.0.5", SERVED)) as listener:
        os.fchown(listener.fileno(), USER, USER)  # a socket is its owner's for the rules
        with socket.create_connection(("10.0.0.5", SERVED), 1) as client:
            in_child(lambda: listener.accept()[0].sendall(b"answer"), uid=USER)
            return client.recv(6) == b"answer"


def unguarded(urls: list[str]) -> list[Outcome]:
    dialling.refusal = lambda *_: ""  # what the code would be without its judge
    return sent(urls)


def second_wall() -> str:
    """Return the commands of docs/egress.md, for this network."""
    (commands,) = re.findall(r"## The second wall\n.*?```sh\n(.*?)```", _page("docs/egress.md"), re.DOTALL)
    here = {"user": str(USER), "served": str(SERVED), "database": "127.0.0.1", "resolver": "127.0.0.1"}
    for name, value in here.items():
        commands, count = re.subn(rf"^{name}=.*$", f"{name}={value}", commands, flags=re.MULTILINE)
        assert count == 1, f"docs/egress.md does not set {name}"
    return commands


def _page(path: str) -> str:
    return (settings.BASE_DIR / path).read_text()


if __name__ == "__main__":
    sys.exit(main())
