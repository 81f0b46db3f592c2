"""The web server's ceiling: an application that reads the body and answers 202.

Under daphne as it comes, or, with --ours, under the service's own server, which is daphne made faster.
"""

import os
import socket
from argparse import ArgumentParser

from daphne.server import Server as Daphne

from event_service.server import Server
from routing import lifeline

ANSWER = b'{"events":[{"id":"0192f5c8-0000-7000-8000-000000000000","duplicate":false}]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def application(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


def main():
    parser = ArgumentParser()
    for option in ("--listener", "--ready", "--lifeline"):
        parser.add_argument(option, type=int, required=True)
    parser.add_argument("--ours", action="store_true")
    options = parser.parse_args()
    lifeline.watch(options.lifeline)

    def ready() -> None:
        os.write(options.ready, b".")

    if options.ours:
        Server(application, socket.socket(fileno=options.listener), on_ready=ready).run()
    else:
        Daphne(application, endpoints=[f"fd:fileno={options.listener}"], ready_callable=ready).run()


if __name__ == "__main__":
    main()
