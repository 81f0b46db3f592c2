"""How an endpoint stands and is sent to, in plain words."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from endpoints.models import Endpoint
from endpoints.policy import RetryPolicy
from routing.console.overview import age

FEW = 4  # waits of a schedule that are said one by one


def state_of(endpoint: Endpoint) -> tuple[str, str]:
    """Return the colour of an endpoint's state, and what it is called: one that is active may fail all the same."""
    if endpoint.state != Endpoint.State.ACTIVE:
        return "warn" if endpoint.state == Endpoint.State.PAUSED else "bad", endpoint.get_state_display()
    lane = getattr(endpoint, "lane", None)
    if lane is not None and lane.opened_at:
        return "bad", _("Active, breaker open")
    if lane is not None and lane.failing_since:
        return "bad", _("Active, failing")
    return "ok", endpoint.get_state_display()


def settings_of(endpoint: Endpoint) -> Sequence[str]:
    """Return one sentence for each thing that is settled of a webhook or a websocket."""
    return [*(_of_webhook(endpoint) if endpoint.type == Endpoint.Type.WEB_HOOK else _of_websocket(endpoint))]


def _of_webhook(endpoint: Endpoint) -> Iterator[str]:
    policy = RetryPolicy.kept(endpoint.retry_policy)
    yield _tries(policy.waits_s)
    within = {"deadline": _lasting(policy.deadline_s)}
    yield _("An answer is waited for up to %(deadline)s.") % within
    if policy.max_age_s is not None:
        yield _("What is older than %(age)s is given up.") % {"age": _lasting(policy.max_age_s)}
    if policy.final_statuses:
        statuses = ", ".join(map(str, sorted(policy.final_statuses)))
        yield _("After an answer of %(statuses)s it is not tried again.") % {"statuses": statuses}
    if endpoint.rate_limit:
        pace = {"count": endpoint.rate_limit, "period": _lasting(endpoint.rate_period_s)}
        yield _("At most %(count)s requests are sent in %(period)s.") % pace
    if endpoint.max_in_flight:
        yield _("At most %(count)s requests are on their way at once.") % {"count": endpoint.max_in_flight}
    yield _ORDER[endpoint.ordering]()
    if endpoint.payload_format != Endpoint.PayloadFormat.STANDARD:
        yield _("It gets %(format)s.") % {"format": endpoint.get_payload_format_display()}
    if endpoint.payload_shape is not None:
        yield _("It gets a part of the data: see the payload shape below.")


def _of_websocket(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.open_access:
        yield _("Anybody who knows its id may listen, without a key.")
    else:
        yield _("Who listens needs a key, or a ticket.")
    if endpoint.payload_shape is not None:
        yield _("It gets a part of the data: see the payload shape below.")


def _tries(waits_s: Sequence[float]) -> str:
    if not waits_s:
        return _("What fails is not tried again.")
    few = ", ".join(_lasting(wait) for wait in waits_s[:FEW]) + (", …" if len(waits_s) > FEW else "")
    said = ngettext(
        "What fails is tried %(count)s time more, after %(waits)s; then it is given up.",
        "What fails is tried %(count)s times more, after %(waits)s; then it is given up.",
        len(waits_s),
    )
    return said % {"count": len(waits_s), "waits": few}


def _lasting(seconds: float) -> str:
    return age(timedelta(seconds=seconds))


_ORDER: dict[str, Callable[[], str]] = {
    Endpoint.Ordering.UNORDERED: lambda: _("Deliveries go as they come, in no order."),
    Endpoint.Ordering.FIFO_BLOCK: lambda: _(
        "Deliveries of one ordering key go in order; one that fails holds up its key."
    ),
    Endpoint.Ordering.FIFO_SKIP: lambda: _("Deliveries of one ordering key go in order; one that fails is passed by."),
}
