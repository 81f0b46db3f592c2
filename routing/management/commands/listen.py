import json
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlencode

import requests
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

_FORWARD_S = 30  # for the local URL to answer
_RESUMABLE = (1006, 1012, 1013)  # the connection broke, the service restarts, this client was too slow


class Command(BaseCommand):
    help = "Forward the events of a websocket endpoint to a local URL, which need not be reachable from outside."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("endpoint", help="the id of a websocket endpoint")
        parser.add_argument("--forward-to", required=True, metavar="URL")
        parser.add_argument("--key", default="", help="a key with the scope subscribe")
        parser.add_argument(
            "--service",
            default=f"ws://{settings.HOST}:{settings.PORT}",
            help="where the service is, as ws:// or wss://",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._after: str | None = None
        try:
            while self._listen(**options):
                self._say("The connection ended; going on from where it stood.")
        except KeyboardInterrupt:
            self._say("")

    def _listen(self, *, service: str, endpoint: str, key: str, forward_to: str, **_: Any) -> bool:
        """Forward until the connection ends. Return whether it is worth connecting again."""
        query = {"endpoint_id": endpoint} | ({"after": self._after} if self._after else {})
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with connect(f"{service}/event-service/ws?{urlencode(query)}", additional_headers=headers) as socket:
                self._say(f"Listening to {endpoint}")
                for frame in socket:
                    self._forward(frame, forward_to)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            if code not in _RESUMABLE:
                raise CommandError(f"{code}: {closed.rcvd.reason if closed.rcvd else 'closed'}") from closed
        except (OSError, InvalidStatus) as error:
            raise CommandError(f"{service} can't be reached: {error}") from error
        return True

    def _forward(self, frame: str | bytes, url: str) -> None:
        event = json.loads(frame)
        try:
            answer = requests.post(
                url, data=frame, headers={"content-type": "application/json"}, timeout=_FORWARD_S
            ).status_code
        except requests.RequestException as error:
            self._say(f"{event['id']} {event['type']}: {url} can't be reached: {error}")
        else:
            self._say(f"{event['id']} {event['type']}: {answer}")
        self._after = event["cursor"]

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
