"""Our static files, as an ASGI application: Django keeps a thread for each client as long as it takes a file."""

from collections.abc import Awaitable, Callable
from typing import Any

from whitenoise.middleware import WhiteNoiseMiddleware

_PIECE = 1 << 16  # bytes: what the server takes before it waits for the client
_NOT_FOUND = b'{"error":{"code":"NOT_FOUND","message":"There is no such file."}}\n'


class Files:
    """WhiteNoise says which there are, and what is answered."""

    def __init__(self) -> None:
        self._files = WhiteNoiseMiddleware().files

    async def __call__(
        self, scope: dict[str, Any], _receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        found = self._files.get(scope["path"])
        if found is None:
            await send(
                {"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/json")]}
            )
            await send({"type": "http.response.body", "body": _NOT_FOUND})
            return
        answer = found.get_response(scope["method"], _as_environ(scope["headers"]))
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
        if answer.file is not None:
            with answer.file:
                # It is in the page cache: to read a piece takes less than to have a thread do it.
                while piece := answer.file.read(_PIECE):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def _as_environ(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {
        f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}": value.decode("latin-1") for name, value in headers
    }
