"""The websockets' ceiling: a consumer that only sends, under the service's own server. ?frames=COUNT"""

import os
import socket
from argparse import ArgumentParser

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from event_service.server import Server
from routing import lifeline

FRAME = (
    '{"id":"0192f5c8-0000-7000-8000-000000000000","type":"order.paid","data":{"note":"%s"},"cursor":"3f9a01bc-1"}'
    % ("abcdefghij" * 64)
)


class Sender(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        for _ in range(int(self.scope["query_string"].removeprefix(b"frames="))):
            await self.send(FRAME)


def main() -> None:
    settings.configure()
    parser = ArgumentParser()
    for option in ("--listener", "--ready", "--lifeline"):
        parser.add_argument(option, type=int, required=True)
    options = parser.parse_args()
    lifeline.watch(options.lifeline)
    listener = socket.socket(fileno=options.listener)
    Server(Sender.as_asgi(), listener, on_ready=lambda: os.write(options.ready, b".")).run()


if __name__ == "__main__":
    main()
