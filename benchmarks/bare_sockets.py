"""The websockets' ceiling: a consumer that only sends. ?frames=COUNT

Under daphne as it comes, or, with --ours, under the service's own server, which is daphne made faster.
"""

import os
import socket
from argparse import ArgumentParser

from channels.generic.websocket import AsyncWebsocketConsumer
from daphne.server import Server as Daphne
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
    parser.add_argument("--ours", action="store_true")
    options = parser.parse_args()
    lifeline.watch(options.lifeline)

    def ready() -> None:
        os.write(options.ready, b".")

    if options.ours:
        Server(Sender.as_asgi(), socket.socket(fileno=options.listener), on_ready=ready).run()
    else:
        Daphne(Sender.as_asgi(), endpoints=[f"fd:fileno={options.listener}"], ready_callable=ready).run()


if __name__ == "__main__":
    main()
