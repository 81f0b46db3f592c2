"""NATS JetStream: a stream's messages by a durable pull consumer, which processes share."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import unquote

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from endpoints.errors import BadInput
from routing.buses.messages import Away, Message

NAME = "nats"
ACK_WAIT_S = 60  # after which what a process that died has not answered comes again
_LOOK_S = 10.0  # between looks whether the consumer is still there: to those that wait nothing says that it is not
_GONE = (
    "The consumer {durable!r} of the stream {stream!r} is gone. Make it where it is to go on, for example with nats "
    "consumer add --deliver, and start again; started without one, it is made from the stream's beginning."
)
_TELLS_WHY = (2, 10, 4)  # the server from which +TERM takes a reason; older ones take that for no answer at all


class JetStream:
    """See routing.buses.messages.Bus."""

    def __init__(self, client: Client, stream: str, durable: str, pull: JetStreamContext.PullSubscription) -> None:
        self._client, self._stream, self._durable, self._pull = client, stream, durable, pull
        version = client.connected_server_version
        self._tells_why = (version.major, version.minor, version.patch) >= _TELLS_WHY
        self._looked_at = time.monotonic()

    async def take(self, most: int, within_s: float) -> Sequence[Message]:
        with _away():
            try:
                return [_message(message) for message in await self._pull.fetch(most, within_s)]
            except nats.errors.TimeoutError:
                await self._look()
                return []

    async def done(self, message: Message) -> None:
        with _away():
            await message.handle.ack()

    async def refuse(self, message: Message, reason: str) -> None:
        why = f" {reason}".replace("\r", " ").replace("\n", " ") if self._tells_why else ""
        with _away():
            await self._client.publish(message.handle.reply, b"+TERM" + why.encode())

    async def postpone(self, message: Message, delay_s: float) -> None:
        with _away():
            await message.handle.nak(delay_s)

    async def hold(self, messages: Sequence[Message]) -> None:
        with _away():
            for message in messages:
                await message.handle.in_progress()

    async def aclose(self) -> None:
        with _away():
            await self._client.close()  # what was said is sent first

    async def _look(self) -> None:
        if time.monotonic() - self._looked_at > _LOOK_S:
            await self._client.jetstream().consumer_info(self._stream, self._durable)
            self._looked_at = time.monotonic()


def connecting(urls: Iterator[str], stream: str, durable: str) -> Callable[[], Awaitable[JetStream]]:
    """Return how to connect, to one address after the other. Only until that has succeeded once is a consumer made: one
    that took the place of another would begin at the stream's beginning.
    """
    found = False

    async def connect_on() -> JetStream:
        nonlocal found
        bus = await connect(next(urls), stream, durable, make=not found)
        found = True
        return bus

    return connect_on


async def connect(url: str, stream: str, durable: str, *, make: bool) -> JetStream:
    """Return the messages of `stream` that the consumer `durable` has not taken; `make` it where there is none.

    Raises BadInput where there is no such stream or consumer, or that is one that would lose messages, and Away.
    """
    with _away():
        client = await nats.connect(
            url,
            name="event-service",
            error_cb=_ignore,  # who asks is told
            # Connections are made anew by who uses this, for all buses alike.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
        )
        try:
            context = client.jetstream()
            _check(await _consumer(context, stream, durable, make=make), durable)
            pull = await context.pull_subscribe_bind(consumer=durable, stream=stream)
        except BaseException:
            await client.close()
            raise
    return JetStream(client, stream, durable, pull)


async def _consumer(context: JetStreamContext, stream: str, durable: str, *, make: bool) -> ConsumerConfig:
    try:
        await context.stream_info(stream)
    except NotFoundError:
        raise BadInput(f"There is no stream {stream!r}; make it first, or name another one.", "stream") from None
    try:
        found: ConsumerConfig = (await context.consumer_info(stream, durable)).config
    except NotFoundError:
        if not make:
            raise BadInput(_GONE.format(durable=durable, stream=stream), "durable") from None
        wanted = ConsumerConfig(durable_name=durable, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S)
        found = (await context.add_consumer(stream, wanted)).config
    return found


def _check(consumer: ConsumerConfig, durable: str) -> None:
    wrong = []
    if consumer.deliver_subject:
        wrong.append("it pushes; make one that is pulled")
    if consumer.ack_policy != AckPolicy.EXPLICIT:
        wrong.append(f"its ack policy is {consumer.ack_policy}; make it explicit")
    if (consumer.max_deliver or -1) > 0:
        wrong.append(f"it gives up after {consumer.max_deliver} tries; have it try for ever (max_deliver -1)")
    if wrong:
        raise BadInput(f"The consumer {durable!r} would lose messages: {', and '.join(wrong)}.", "durable")


def _message(message: Msg) -> Message:
    headers: Mapping[str, str] = {name.lower(): value for name, value in (message.headers or {}).items()}
    attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    place = message.metadata
    # Sequences begin again when a stream is made anew, so the time is part of the name.
    unique = f"{place.stream} {place.sequence.stream} {place.timestamp.isoformat()}"
    return Message(
        body=message.data,
        media_type=headers.get("content-type", attributes.get("datacontenttype", "")),
        attributes=attributes,
        id=headers.get("nats-msg-id", unique),
        traceparent=headers.get("traceparent", ""),
        where=f"{place.stream} {place.sequence.stream}",
        handle=message,
    )


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise Away(str(error) or type(error).__name__) from error


async def _ignore(_: Exception) -> None:
    pass
