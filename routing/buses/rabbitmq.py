"""RabbitMQ, by AMQP 0-9-1: a queue's messages, which processes share."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

from endpoints.errors import BadInput
from routing.buses.messages import Away, Message

NAME = "rabbitmq"
_CONNECT_S = 10
_PREFIXES = ("cloudEvents:", "cloudEvents_", "ce-")  # AMQP's binding has the first; JMS takes no colons


class RabbitMq:
    """See routing.buses.messages.Bus."""

    def __init__(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        self._connection, self._channel = connection, channel
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._cancelled = False

    async def begin(self, name: str, most: int) -> None:
        await self._channel.set_qos(prefetch_count=most)
        queue = await self._channel.declare_queue(name, passive=True)
        (await self._channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(self._on_cancel)
        await queue.consume(self._arrived.put)

    async def take(self, most: int, within_s: float) -> Sequence[Message]:
        with _away():
            self._check()
            try:
                found = [await asyncio.wait_for(self._arrived.get(), within_s)]
            except TimeoutError:
                return []
            while len(found) < most and not self._arrived.empty():
                found.append(self._arrived.get_nowait())
            return [_message(message) for message in found]

    async def done(self, message: Message) -> None:
        with _away():
            await message.handle.ack()

    async def refuse(self, message: Message, reason: str) -> None:
        """AMQP has no place for the reason."""
        with _away():
            await message.handle.reject(requeue=False)

    async def postpone(self, message: Message, delay_s: float) -> None:
        """Keep it here: the queue would send it again at once, and count that against it."""
        asyncio.get_running_loop().call_later(delay_s, self._arrived.put_nowait, message.handle)

    async def hold(self, messages: Sequence[Message]) -> None:
        with _away():
            self._check()

    async def aclose(self) -> None:
        with _away():
            await self._connection.close()

    def _check(self) -> None:
        if self._channel.is_closed:
            raise Away("the channel was closed")
        if self._cancelled:
            raise Away("the queue was deleted, or moved")

    def _on_cancel(self, _: object) -> None:
        self._cancelled = True


async def connect(url: str, queue: str, most: int) -> RabbitMq:
    """Return the messages of `queue`, with at most so many that are not answered.

    Raises BadInput where there is no such queue, and Away.
    """
    with _away():
        connection = await aio_pika.connect(url, timeout=_CONNECT_S)
        try:
            bus = RabbitMq(connection, await connection.channel())
            await bus.begin(queue, most)
        except ChannelNotFoundEntity:
            await connection.close()
            raise BadInput(f"There is no queue {queue!r}; declare it first, or name another one.", "queue") from None
        except BaseException:
            await connection.close()
            raise
    return bus


def _message(message: AbstractIncomingMessage) -> Message:
    headers = message.headers
    return Message(
        body=message.body,
        media_type=message.content_type or "",
        attributes={
            name.removeprefix(prefix): _canonical(value)
            for name, value in headers.items()
            for prefix in _PREFIXES
            if name.startswith(prefix)
        },
        id=message.message_id or "",
        traceparent=str(headers.get("traceparent", "")),
        where=f"{message.routing_key!r} {message.message_id!r}",
        handle=message,
    )


def _canonical(value: Any) -> str:
    """Return an attribute as a text, as CloudEvents' type system has it."""
    match value:
        case bool():
            return str(value).lower()
        case bytes() | bytearray():
            return b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (AMQPError, ChannelInvalidStateError, OSError) as error:
        raise Away(str(error) or type(error).__name__) from error
