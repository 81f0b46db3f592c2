"""From a bus into a workspace: take -> record -> answer. A message is answered once its event is committed, so that
one whose answer is lost comes again; by its id it is the same event then.
"""

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from uuid import UUID

from channels.db import database_sync_to_async

from endpoints.about import about
from endpoints.auth import Grant
from endpoints.errors import BadInput, Conflict, ServiceError
from endpoints.models import Workspace
from endpoints.models.quotas import Quota, limit_of
from endpoints.outage import is_outage
from endpoints.tenancy import within
from routing import failpoints, metrics, plans, rules, tracing
from routing.buses.messages import Away, Bus, Message, event_of
from routing.models import Answer, DayIsFull, Event, recording
from routing.plans import Plan
from routing.rules import Judgement
from routing.submissions import NewEvent

logger = logging.getLogger(__name__)

POLL_S = 1.0  # for which it waits for messages, before it looks whether it is to end
LONGEST_PAUSE_S = 10.0  # before it tries again; a third of the time for which JetStream waits by default
POSTPONED_S = 60.0  # until an event comes again that alone can't be stored
STANDS_STILL_S = 60.0  # without a turn, after which it is taken for dead
_NO_KEY = UUID(int=0)  # who starts it has the database

Held = list[tuple[Message, NewEvent]]


class Intake:
    """Takes events from a bus until it is told to stop."""

    def __init__(self, workspace_id: UUID, name: str, connect: Callable[[], Awaitable[Bus]], *, batch: int) -> None:
        self.counts: Counter[str] = Counter(taken=0, repeated=0, refused=0)
        self._workspace_id, self._name, self._connect, self._batch = workspace_id, name, connect, batch
        self._bus = name.partition(" ")[0]
        self._stopping = asyncio.Event()
        self._failures = 0  # in a row
        self._turned_at = time.monotonic()
        # Counters that nobody has seen at 0 raise no alarm.
        for outcome in ("taken", "repeated", "refused", "postponed"):
            metrics.bus_messages.labels(self._bus, outcome)

    def lives(self) -> bool:
        """Tell whether it still turns. Without a bus or a database it does: to start it again would not help."""
        return time.monotonic() - self._turned_at < STANDS_STILL_S

    async def run(self) -> None:
        """Take events until SIGTERM or SIGINT, which let it finish what it is recording.

        Raises BadInput or NotFound for what only people can put right.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        while not self._stopping.is_set():
            try:
                async with aclosing(await self._connect()) as bus:
                    logger.info("Taking events from %s", self._name)
                    while not self._stopping.is_set():
                        await self._turn(bus)
            except Away as error:
                logger.warning("%s is away: %s", self._name, error)
                await self._pause()

    async def _turn(self, bus: Bus) -> None:
        """Take some messages, and answer them: as long as they can't be recorded, nothing else is taken."""
        self._turned_at = time.monotonic()
        held = await self._read(bus, await bus.take(self._batch, POLL_S))
        while (held := await self._record(bus, held)) and not self._stopping.is_set():
            await bus.hold([message for message, _ in held])
            await self._pause()
        self._failures = 0

    async def _pause(self) -> None:
        self._turned_at = time.monotonic()
        self._failures += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), min(LONGEST_PAUSE_S, 0.25 * 2 ** min(self._failures, 10)))

    async def _read(self, bus: Bus, messages: Sequence[Message]) -> Held:
        held: Held = []
        for message in messages:
            try:
                held.append((message, event_of(message, self._workspace_id)))
            except BadInput as refusal:
                await self._refuse(bus, message, refusal)
        return held

    async def _record(self, bus: Bus, held: Held) -> Held:
        """Record the events and answer their messages. Return those that wait for the database or the next day."""
        if not held:
            return []
        try:
            answers = await database_sync_to_async(record)(self._workspace_id, [event for _, event in held])
        except ServiceError:
            raise
        except Exception as error:
            if is_outage(error):
                logger.warning("%d events wait for the database: %s", len(held), error)
                return held
            if len(held) > 1:  # one of them can't be stored: the others must not pay for it
                return await self._record_each(bus, held)
            await self._postpone(bus, held[0][0])
            return []
        failpoints.reach("K2")
        return await self._answer(bus, held, answers)

    async def _record_each(self, bus: Bus, held: Held) -> Held:
        for place, one in enumerate(held):
            if await self._record(bus, [one]):
                return held[place:]
        return []

    async def _answer(self, bus: Bus, held: Held, answers: Sequence[Answer | DayIsFull]) -> Held:
        waiting: Held = []
        full = None
        for one, answer in zip(held, answers, strict=True):
            match answer:
                case DayIsFull():
                    full = answer
                    waiting.append(one)
                case BadInput() | Conflict():
                    await self._refuse(bus, one[0], answer)
                case _:
                    await bus.done(one[0])
                    self._count("repeated" if answer.duplicate else "taken")
        if full:
            logger.warning("%d events wait for the next day: %s", len(waiting), full)
        return waiting

    async def _refuse(self, bus: Bus, message: Message, refusal: BadInput | Conflict) -> None:
        await bus.refuse(message, refusal.message)
        self._count("refused")
        # What is wrong within data is not said: the log holds no payloads.
        place = refusal.field if refusal.field and refusal.field.startswith("data") else ""
        with about(workspace_id=self._workspace_id):
            logger.warning("%s is refused: %s", message.where, f"{place} is not right." if place else refusal.message)

    async def _postpone(self, bus: Bus, message: Message) -> None:
        with about(workspace_id=self._workspace_id):
            logger.exception("%s could not be stored, and comes again in %d s", message.where, POSTPONED_S)
        await bus.postpone(message, POSTPONED_S)
        self._count("postponed")

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        metrics.bus_messages.labels(self._bus, outcome).inc()


def record(workspace_id: UUID, events: Sequence[NewEvent]) -> Sequence[Answer | DayIsFull]:
    """Store the events of one workspace and what is owed because of them, each that its quota has room for.

    Raises NotFound where there is no such workspace any more, and Django's database errors.
    """
    workspace = Workspace.called(str(workspace_id))
    grant = Grant(_NO_KEY, workspace_id, frozenset(), events_per_day=limit_of(workspace, Quota.EVENTS))
    judgement = rules.load(workspace_id).judge(events)
    plan = recording([(grant, [event]) for event in events], partial(_publishing, workspace_id, judgement))
    links = [event.traceparent for event in events if event.traceparent]
    with tracing.span("record", parent="", links=links), within(workspace_id):
        answers = plans.run(plan)
    return [answer if isinstance(answer, DayIsFull) else answer[0] for answer in answers]


def _publishing(workspace_id: UUID, judgement: Judgement, events: Sequence[NewEvent]) -> Plan[list[Answer]]:
    """Return Event.publishing's plan. Judged inside the transaction, events with large schemas would hold it up."""
    standing = yield from rules.standing(workspace_id)
    current = judgement if judgement.version == standing.version else standing.judge(events)
    return (yield from Event.recording(events, current.problems))
