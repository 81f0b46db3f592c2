"""What becomes of the deliveries that an operator looks on at: told beside the events, to who may see deliveries."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from endpoints.tenancy import within
from routing.models import Delivery
from routing.sockets import frames
from routing.sockets.admission import Admission
from routing.sockets.cursors import Cursor
from routing.sockets.operators import may_see_deliveries
from routing.sockets.threads import in_query_thread
from routing.sockets.watching import Watcher

SHOWN = 500  # events that a page which connects again may have, and whose deliveries may have changed meanwhile


async def tell(admission: Admission, watcher: Watcher, send: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
    """Send how deliveries stand that change, for as long as it is let."""
    if admission.asked.resumes:
        watcher.tell(await in_query_thread(_shown, admission))
    while True:
        if found := await in_query_thread(_read, admission, await watcher.next()):
            await send(found)


def _shown(admission: Admission) -> list[UUID]:
    endpoint, last = admission.standing.endpoint, admission.position
    with within(endpoint.workspace_id):
        rows = Delivery.objects.filter(endpoint=endpoint, seq__gt=last - SHOWN, seq__lte=last)
        return list(rows.order_by("seq").values_list("pk", flat=True))


def _read(admission: Admission, ids: Collection[UUID]) -> list[bytes]:
    assert admission.user_id is not None
    if not may_see_deliveries(admission.user_id):
        return []
    epoch = admission.standing.epoch
    with within(admission.standing.endpoint.workspace_id):
        rows = Delivery.objects.filter(pk__in=ids).order_by("seq")
        return [
            frames.state(cursor=Cursor(epoch, seq), state=state, reason=reason, attempts=attempts)
            for seq, state, reason, attempts in rows.values_list("seq", "state", "reason", "attempts_made")
        ]
