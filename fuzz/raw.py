"""HTTP/1.1 as nobody should speak it: request lines, headers that disagree, bodies that end elsewhere."""

from random import Random

from fuzz import values, wire
from fuzz.doors import Door
from fuzz.world import World

_METHODS = (b"GET", b"POST", b"HEAD", b"get", b"", b"G\0T", b"CONNECT", b"PRI", b"x" * 9_000, "É".encode())
_TARGETS = (
    b"/healthz",
    b"/event-service/events",
    b"/event-service/graphql",
    b"/event-service/static/../../manage.py",
    b"/event-service/static/%2e%2e/%2e%2e/etc/passwd",
    b"//evil.example/",
    b"http://evil.example/healthz",
    b"*",
    b"",
    b"/%00",
    b"/%ff%fe?%zz=%",
    b"/\xff",
    b"/healthz?" + b"a" * 20_000,
    b"/admin/login/?next=//evil.example",
    b"/#x",
)
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"http/1.1", b"HTTP/1.1 x")
_HEADERS = (
    b"Host: localhost",
    b"Host: localhost",
    b"Host: evil.example",
    b"Host: localhost:99999999",
    b"Host: [::1",
    b"Host : localhost",
    b" folded: x",
    b"Content-Length: 5",
    b"Content-Length: +5",
    b"Content-Length: -1",
    b"Content-Length: 5, 5",
    b"Content-Length: 5_0",
    b"Content-Length: 99999999999999999999",
    "Content-Length: ٥".encode(),
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked, identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer_Encoding: chunked",
    b"Content-Type: application/json",
    b"Content-Type: multipart/form-data; boundary=" + b"x" * 300,
    b"Expect: 100-continue",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Daphne-Root-Path: /evil",
    b"X-Forwarded-For: 127.0.0.1, \xff",
    b"X_Forwarded_For: 127.0.0.1",
    b"Cookie: " + b"a=b; " * 2_000,
    b"Cookie: sessionid=\xff\xfe",
    b"Accept-Language: " + b"x-" * 2_000,
    b"If-Modified-Since: Thu, 99 Nov 99999999 99:99:99 GMT",
    b"Range: bytes=0-,0-,-1",
    b"Accept-Encoding: gzip;q=\xff, *;q=9e999",
    b": empty",
    b"no colon",
    b"A: " + b"a" * 20_000,
    b"A\0: \0",
    b"A: b\rC: d",
)
_CHUNKS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-1\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"ffffffffffffffffff\r\nhello",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5;" + b"a" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\n" + b"A: b\r\n" * 1_000 + b"\r\n",
    b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n",
    b"hello",
    b"",
)
_SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def door(port: int, world: World) -> Door:
    return Door(
        name="raw",
        ordinary=wire.request("GET", "/healthz"),
        draw=draw,
        send=lambda data: wire.throw(port, data),
    )


def draw(random: Random) -> bytes:
    method = _METHODS[random.randrange(3)] if random.random() < 0.8 else random.choice(_METHODS)
    line = b" ".join((method, random.choice(_TARGETS), random.choice(_VERSIONS)))
    headers = [b"Host: localhost"] if random.random() < 0.8 else []
    headers += random.choices(_HEADERS, k=random.choice((0, 1, 2, 3, 4, 5, 200)))
    end = random.choice((b"\r\n",) * 8 + (b"\n", b"\r"))
    whole = end.join((line, *headers, b"", b"")) + random.choice(_CHUNKS)
    return values.perhaps_mangled(random, whole, 0.2) + random.choice((b"", _SMUGGLED))
