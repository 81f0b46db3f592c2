"""An application for test_server.py and test_serve.py, served by the real server.

    python -m tests.server_app --listener FD --ready FD [--lifeline FD] [server.NAME=NUMBER websocket.NAME=NUMBER ...]

The last arguments shorten a deadline. `/gate` holds `/async` and `/sync` until somebody asks for `/open`.
"""

import argparse
import asyncio
import os
import resource
import socket
import threading

from asgiref.sync import sync_to_async

from event_service.server import Server, channel, request, server, websocket
from routing import lifeline

GATE, NEVER = threading.Event(), threading.Event()
MODULES = {"channel": channel, "request": request, "server": server, "websocket": websocket}


def say(text):
    os.write(1, f"{text}\n".encode())


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wait_for(event, name):
    say(f"in {name}")
    event.wait()


async def wait_for_gate():
    say("in async")
    while not GATE.is_set():
        await asyncio.sleep(0.01)


async def wait_patiently():
    say("in patient")
    try:
        await asyncio.Event().wait()
    finally:
        say("patient cleaned up")


async def answer(scope, body):
    path = scope["path"]
    if path == "/async":
        await wait_for_gate()
    elif path == "/sync":
        await sync_to_async(wait_for, thread_sensitive=False)(GATE, "sync")
    elif path == "/never":
        await sync_to_async(wait_for, thread_sensitive=False)(NEVER, "never")
    elif path == "/patient":
        await wait_patiently()
    elif path == "/open":
        GATE.set()
    elif path == "/big":
        return b"x" * int(scope["query_string"])
    elif path == "/size":
        return str(len(body)).encode()
    elif path == "/pid":
        return str(os.getpid()).encode()
    elif path == "/seen":
        seen = {**scope, "client": None, "headers": sorted(scope["headers"]), "body": body}
        return repr(sorted(seen.items())).encode()
    elif path == "/held":
        return str(len(SERVER.connections)).encode()
    elif path == "/scope":
        return repr((scope["root_path"], scope["client"][0], scope.get("scheme", "ws"))).encode()
    return b"done"


async def stream(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one", b"", b"three"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def break_off(send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise LookupError("what it was to say")


async def say_no_more(send):
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})


async def fail(send):
    raise LookupError("what it was to say")


async def keep_silent(send):
    """Answer nothing."""


ANSWERS = {"/stream": stream, "/break-off": break_off, "/204": say_no_more, "/fail": fail, "/silent": keep_silent}


async def http(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    if act := ANSWERS.get(scope["path"]):
        await act(send)
        return
    if scope["path"] == "/left":
        say("in left")
        say((await receive())["type"])
    content = await answer(scope, body)
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def flood(send, scope):
    """200 MiB, and then how much more memory that took."""
    before = peak_mib()
    try:
        for _ in range(3200):
            await send({"type": "websocket.send", "bytes": b"x" * 65536})
    finally:
        say(f"grew {peak_mib() - before:.0f}")


async def burst(send, scope):
    sends = (send({"type": "websocket.send", "bytes": b"x" * 65536}) for _ in range(400))
    await asyncio.gather(*sends)


async def close(send, scope):
    await send({"type": "websocket.close", "code": int(scope["query_string"]), "reason": "because"})


async def deaf(send, scope):
    await asyncio.Event().wait()


async def scope_of(send, scope):
    await send(
        {"type": "websocket.send", "text": repr((scope["root_path"], scope["client"][0], scope.get("scheme", "ws")))}
    )


SCENES = {"/flood": flood, "/burst": burst, "/close": close, "/deaf": deaf, "/scope": scope_of}


async def sockets(scope, receive, send):
    await receive()
    if scope["path"] == "/undecided":
        say("undecided")
        await receive()
        return
    await send({"type": "websocket.accept"})
    if scene := SCENES.get(scope["path"]):
        await scene(send, scope)
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": f"got {len(message['text'])}"})
    say(f"gone {message['code']}")
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except ConnectionError as error:
        say(error)
        raise


async def application(scope, receive, send):
    await (http if scope["type"] == "http" else sockets)(scope, receive, send)


def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--lifeline", type=int)
    parser.add_argument("constants", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    options = parsed()
    for constant in options.constants:
        name, number = constant.split("=")
        module, attribute = name.split(".")
        assert hasattr(MODULES[module], attribute), name
        setattr(MODULES[module], attribute, float(number))
    if options.lifeline is not None:
        lifeline.watch(options.lifeline)
    listener = socket.socket(fileno=options.listener)
    SERVER = Server(application, listener, on_ready=lambda: os.write(options.ready, b"."))
    SERVER.run()
    os._exit(0)
