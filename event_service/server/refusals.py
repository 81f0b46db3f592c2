"""What the server itself answers."""

import json

from event_service.server.edge import Edge

NAME = "event-service"
_CODES = {503: "UNAVAILABLE", 500: "INTERNAL"}


def refusal(status: int, message: str) -> bytes:
    """Return the body of an answer that the server itself gives."""
    return json.dumps({"error": {"code": _CODES.get(status, "BAD_USER_INPUT"), "message": message}}).encode() + b"\n"


def answer(status: int, reason: str, message: str, edge: Edge) -> bytes:
    """Return a whole answer, the last of its connection."""
    body = refusal(status, message)
    headers = {
        "server": NAME,
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **edge.as_text(),
    }
    lines = (f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items()), "", "")
    return "\r\n".join(lines).encode() + body
