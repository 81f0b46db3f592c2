import json
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

_FORWARD_S = 30  # for the local URL to answer
_PAUSES_S = (0.5, 1, 2, 5, 10, 30)  # between the tries to connect again
_RESUMABLE = (1006, 1012, 1013)  # the connection broke, the service restarts, this client was too slow


class Command(BaseCommand):
    help = "Print the events of a websocket endpoint, or forward them to a URL that only this machine reaches."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("endpoint", help="the id of a websocket endpoint")
        parser.add_argument("--forward-to", metavar="URL", help="POST each event there; printed where left out")
        parser.add_argument("--key", default="", help="a key with the scope subscribe")
        parser.add_argument(
            "--service",
            default=f"ws://{settings.HOST}:{settings.PORT}",
            help="where the service is, as ws:// or wss://",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._after: str | None = None
        if not options["service"].startswith(("ws://", "wss://")):
            raise CommandError(f"--service is {options['service']!r}; write ws://HOST:PORT or wss://HOST:PORT.")
        try:
            self._listen(**options)
            while True:
                self._say("The connection ended; going on from where it stood.")
                self._listen_again(**options)
        except (OSError, InvalidStatus) as error:
            raise CommandError(
                f"{options['service']} can't be reached: {error}. Where it is elsewhere, say so with --service."
            ) from error
        except KeyboardInterrupt:
            self._say("")

    def _listen_again(self, **options: Any) -> None:
        """Listen once the service is back. Raises OSError where it stays away."""
        for pause_s in _PAUSES_S:
            time.sleep(pause_s)
            with suppress(OSError):
                return self._listen(**options)
        return self._listen(**options)

    def _listen(self, *, service: str, endpoint: str, key: str, forward_to: str | None, **_: Any) -> None:
        """Forward until the connection ends in a way that is worth connecting again."""
        query = {"endpoint_id": endpoint} | ({"after": self._after} if self._after else {})
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with connect(f"{service}/event-service/ws?{urlencode(query)}", additional_headers=headers) as socket:
            self._say(f"Listening to {endpoint}")
            try:
                while True:
                    self._forward(socket.recv(), forward_to)
            except ConnectionClosed as closed:
                code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
                if code not in _RESUMABLE:
                    raise CommandError(f"The service closed the connection with {code}: {reason}") from closed

    def _forward(self, frame: str | bytes, url: str | None) -> None:
        event = json.loads(frame)
        if url is None:
            self._say(frame if isinstance(frame, str) else frame.decode())
        else:
            self._post(frame, url, f"{event['id']} {event['type']}")
        self._after = event["cursor"]

    def _post(self, frame: str | bytes, url: str, named: str) -> None:
        try:
            answer = requests.post(
                url, data=frame, headers={"content-type": "application/json"}, timeout=_FORWARD_S
            ).status_code
        except requests.RequestException as error:
            self._say(f"{named}: {url} can't be reached: {error}")
        else:
            self._say(f"{named}: {answer}")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
