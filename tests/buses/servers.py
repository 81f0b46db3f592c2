"""Servers of message buses on loopback, each in a folder of its own, and what a producer does with them."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aio_pika
import nats
import pytest

from tests.service import wait_until

WHERE = "orders"  # the stream or the queue
REFUSED = "refused"  # the queue of dead letters


@dataclass(frozen=True)
class Sent:
    body: bytes
    content_type: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)  # of a CloudEvent in binary mode
    id: str | None = None  # the bus's own


class Server:
    program = ""
    option = ""

    def __init__(self, folder: Path) -> None:
        if shutil.which(self.program) is None:
            pytest.skip(f"{self.program} is not installed")
        folder.mkdir(exist_ok=True)
        self.folder, self.port = folder, _free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, env={**os.environ, **self._environment()}
            )
        wait_until(self._answers, bool)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def publish(self, messages: Sequence[Sent]) -> None:
        """Return once the server has written them down."""
        asyncio.run(self._publish(messages))

    def left(self) -> int:
        """Return how many messages are not answered for good."""
        return asyncio.run(self._left())

    def forget(self) -> None:
        """Delete what processes take messages from."""
        asyncio.run(self._forget())

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        return {}

    def _answers(self) -> bool:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                assert self.process.poll() is None, (self.folder / "log").read_text()
                return False
        try:
            return asyncio.run(self._make())
        except (aio_pika.exceptions.AMQPError, nats.errors.Error, OSError):  # it has only begun
            return False

    async def _make(self) -> bool:
        raise NotImplementedError

    async def _publish(self, messages: Sequence[Sent]) -> None:
        raise NotImplementedError

    async def _left(self) -> int:
        raise NotImplementedError

    async def _forget(self) -> None:
        raise NotImplementedError


class NatsServer(Server):
    program = "nats-server"
    option = "--stream"

    @property
    def url(self) -> str:
        return f"nats://bus:pass-word@127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        where = ["--addr", "127.0.0.1", "--port", str(self.port), "--store_dir", str(self.folder)]
        return [self.program, "--jetstream", *where, "--user", "bus", "--pass", "pass-word"]

    def _client(self) -> Any:
        return nats.connect(self.url, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore)

    async def _make(self) -> bool:
        async with await self._client() as client:
            await client.jetstream().add_stream(name=WHERE, subjects=[WHERE])
        return True

    async def _publish(self, messages: Sequence[Sent]) -> None:
        async with await self._client() as client:
            stream = client.jetstream()
            for message in messages:
                headers = {f"ce-{name}": quote(value) for name, value in message.attributes.items()}
                headers |= {"Content-Type": message.content_type} if message.content_type else {}
                headers |= {"Nats-Msg-Id": message.id} if message.id else {}
                await stream.publish(WHERE, message.body, headers=headers or None)

    async def _left(self) -> int:
        async with await self._client() as client:
            found = await client.jetstream().consumer_info(WHERE, "event-service")
        return int(found.num_pending + found.num_ack_pending)

    async def _forget(self) -> None:
        async with await self._client() as client:
            await client.jetstream().delete_consumer(WHERE, "event-service")


class RabbitServer(Server):
    program = "rabbitmq-server"
    option = "--queue"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.distribution, self.epmd = _free_port(), _free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def stop(self) -> None:
        super().stop()
        # Erlang leaves a daemon of its own behind, which is asked by its port.
        subprocess.run(["epmd", "-port", str(self.epmd), "-kill"], check=False, capture_output=True)

    def _command(self) -> list[str]:
        (self.folder / "plugins").write_text("[].")
        (self.folder / "env").touch()
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]  # Debian's own in /usr/sbin wants to be run by its user

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # of Erlang's cookie
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env"),
            "RABBITMQ_NODENAME": f"bus{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    async def _make(self) -> bool:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(REFUSED, durable=True)
            dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": REFUSED}
            await channel.declare_queue(WHERE, durable=True, arguments=dead)
        return True

    async def _publish(self, messages: Sequence[Sent]) -> None:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for message in messages:
                await channel.default_exchange.publish(
                    aio_pika.Message(
                        message.body,
                        headers={f"cloudEvents:{name}": value for name, value in message.attributes.items()},
                        content_type=message.content_type,
                        message_id=message.id,
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    ),
                    routing_key=WHERE,
                )

    async def _left(self) -> int:
        return await self._waiting(WHERE)

    async def _forget(self) -> None:
        """Make it anew at once."""
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(WHERE)
        await self._make()

    def refused(self) -> int:
        return asyncio.run(self._waiting(REFUSED))

    async def _waiting(self, queue: str) -> int:
        """Messages that a process holds are not among them, but come back when it ends."""
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            return int((await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0)


async def _ignore(_: Exception) -> None:
    pass


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
