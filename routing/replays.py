"""Replays as durable jobs: each batch of new deliveries is committed together with how far the job has come."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from endpoints.about import about
from endpoints.errors import BadInput, Conflict, Limited
from endpoints.models import Endpoint, EventFilter
from endpoints.outage import OUTAGE
from routing import repeats, walks
from routing.ids import LONG_AGO
from routing.models import Delivery, Replay
from routing.repeats import Repeat
from routing.walks import COUNTED, Count

logger = logging.getLogger(__name__)

PER_SECOND = 50  # deliveries that a replay writes, unless it is told otherwise
MAX_PER_SECOND = 1_000
MAX_RUNNING = 20  # replays of one workspace
BATCHES = 4  # of one look: a worker has other things to do
WRITTEN = 250  # by one batch
ARREARS = timedelta(seconds=1)  # that a throttled replay may catch up with


class Selection(NamedTuple):
    """Which deliveries are repeated, or which events are sent that `endpoint` was never tried with."""

    endpoint: Endpoint
    states: Sequence[str] | None = None
    never_attempted: bool = False
    since: datetime | None = None
    until: datetime | None = None
    event_filter: EventFilter | None = None


def preview(selection: Selection, *, to_endpoint: Endpoint | None = None, looks: int = COUNTED) -> Count:
    """Return how many deliveries the replay would write, as far as so many looks of the walk find. Writes nothing."""
    return walks.count(_planned(selection, to_endpoint, PER_SECOND), looks=looks)


def create(
    selection: Selection,
    *,
    to_endpoint: Endpoint | None = None,
    per_second: int | None = None,
    looks: int = COUNTED,
) -> Replay:
    """Start a replay to `to_endpoint`, or to the endpoint itself. It has a total where so many looks come to the end.

    Raises BadInput for what makes no sense, Conflict where the endpoint takes nothing, and Limited.
    """
    replay = _planned(selection, to_endpoint, PER_SECOND if per_second is None else per_second)
    if problem := repeats.problem_of(replay.to_endpoint):
        said = _("Nothing can be replayed: %(problem)s") % {"problem": problem}
        raise Conflict(said, "endpointId" if to_endpoint is None else "toEndpointId")
    running = Replay.objects.filter(workspace_id=replay.workspace_id, state=Replay.State.RUNNING).count()
    if running >= MAX_RUNNING:
        said = _("%(given)s replays are running; at most %(most)s do at once. Wait, or cancel one.")
        raise Limited(said % {"given": running, "most": MAX_RUNNING})
    found = walks.count(replay, looks=looks)
    replay.total = found.number if found.exact else None
    replay.save(force_insert=True)
    replay.refresh_from_db()
    return replay


def run_some(*, now: datetime | None = None) -> int:
    """Write the next batches of the replays whose turn it is by `now`, the database's time. Return how many ran."""
    for ran in range(BATCHES):
        if not _run_next(now):
            return ran
    return BATCHES


def _run_next(now: datetime | None) -> bool:
    replay = None
    try:
        with transaction.atomic():
            replay = _due(now)
            if replay is not None:
                _advance(replay)
    except OUTAGE:
        raise
    except Exception:  # a fault of ours must cost one replay, not the worker and all that it would have sent
        if replay is None:
            raise
        with about(workspace_id=replay.workspace_id, endpoint_id=replay.endpoint_id, replay_id=replay.pk):
            logger.exception("Replay %s failed; what it had written stays", replay.pk)
        replay.fail("INTERNAL")
    return replay is not None


def _due(now: datetime | None) -> Any:
    """Lock and return a replay whose turn it is, with the time as `now`; those that others work on are theirs."""
    replays = Replay.objects.select_related("to_endpoint").select_for_update(skip_locked=True, of=("self",))
    at = Now() if now is None else Value(now)
    running = replays.filter(state=Replay.State.RUNNING, resume_at__lte=at)
    return running.annotate(now=at).order_by("resume_at", "pk").first()


def _advance(replay: Any) -> None:
    target = replay.to_endpoint
    if repeats.problem_of(target):
        replay.fail("ENDPOINT_DELETED" if target.deleted_at else "ENDPOINT_DISABLED")
        return
    batch = walks.look(replay, replay.position, room=min(WRITTEN, replay.per_second))
    replay.done += repeats.write([Repeat(row.event_id, target.pk, row.delivery_id) for row in batch.rows])
    replay.passed_over += batch.passed_over
    replay.position = batch.position
    throttle = timedelta(seconds=len(batch.rows) / replay.per_second)
    replay.resume_at = max(replay.resume_at, replay.now - ARREARS) + throttle
    replay.save(update_fields=["done", "passed_over", "position", "resume_at"])
    if batch.last:
        replay.finish()


def _planned(selection: Selection, to_endpoint: Endpoint | None, per_second: int) -> Replay:
    if not 1 <= per_second <= MAX_PER_SECOND:
        said = _("%(field)s is %(given)s; it is between 1 and %(most)s.")
        raise BadInput(said % {"field": "perSecond", "given": per_second, "most": MAX_PER_SECOND}, "perSecond")
    endpoint = selection.endpoint
    until = _until(selection)
    if selection.since is not None and selection.since >= until:
        said = _("since is %(given)s, which is not before %(until)s.")
        raise BadInput(said % {"given": selection.since, "until": until}, "since")
    along = walks.along_events if selection.never_attempted else walks.along_deliveries
    since = selection.since and max(selection.since, LONG_AGO)
    position, end = along(endpoint, since, until)
    return Replay(
        workspace_id=endpoint.workspace_id,
        endpoint=endpoint,
        never_attempted=selection.never_attempted,
        states=_states(selection),
        since=since,
        until=until,
        event_filter_id=selection.event_filter.pk if selection.event_filter else None,
        wanted=_wanted(selection),
        to_endpoint=to_endpoint or endpoint,
        per_second=per_second,
        position=position,
        end=end,
    )


def _until(selection: Selection) -> datetime:
    """Return where the time ends: now, by the database's clock, at the latest."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT least(%s::timestamptz, clock_timestamp())", [selection.until])
        (until,) = cursor.fetchone()
    return until  # type: ignore[no-any-return]


def _states(selection: Selection) -> list[str]:
    """Return the states as they are kept: none where nothing was attempted, what failed where none are given."""
    given = selection.states
    if selection.never_attempted:
        if given is not None:
            raise BadInput(_("Both states and neverAttempted are given; give one of the two."), "states")
        return []
    if given is None:
        return [Delivery.State.EXHAUSTED.value]
    if not given:
        raise BadInput(_("states is empty, which selects nothing; leave it out for EXHAUSTED."), "states")
    for state in given:
        if state in Delivery.OPEN:
            said = _("states holds %(state)s; only what has ended can be replayed.")
            raise BadInput(said % {"state": state}, "states")
    return sorted(set(given))


def _wanted(selection: Selection) -> list[list[Any]]:
    """Return the filters that an event must match, one of each list: the given one; and the endpoint's own."""
    wanted = [[selection.event_filter.definition]] if selection.event_filter else []
    if selection.never_attempted:
        filters = selection.endpoint.event_filters.order_by("pk")
        own = list(filters.values_list("definition", flat=True))
        wanted += [own] if own else []
    return wanted
