"""All that a search finds, retried, tried now or cancelled: batch after batch, driven by the page that shows them."""

from typing import Any, NamedTuple

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from routing.admin.finding import asked_of
from routing.cancelling import cancel
from routing.console.queue import RELEASE
from routing.console.searches import DeliverySearch, read_id
from routing.expediting import expedite
from routing.models import Delivery, Event
from routing.repeats import problem_of, retry

BATCH = 500  # deliveries; each is written, and noted in the audit log


class Act(NamedTuple):
    permission: str
    title: object
    button: object


class Done(NamedTuple):
    did: int  # of how many deliveries
    released: int = 0  # how many others go on, as their breaker was closed
    left_open: int = 0  # how many breakers were to stay as they are


ACTS = {
    "retry": Act("routing.retry_delivery", gettext_lazy("Deliver again all that are found"), gettext_lazy("Begin")),
    "expedite": Act("routing.retry_delivery", gettext_lazy("Try now all that are found"), gettext_lazy("Begin")),
    "cancel": Act("routing.cancel_delivery", gettext_lazy("Cancel all that are found"), gettext_lazy("Begin")),
}


@require_http_methods(["GET", "POST"])
def act_on_all(request: HttpRequest, act: str) -> HttpResponse:
    """Ask first; then take a batch with each POST, from new to old. What is written meanwhile is not come across."""
    if act not in ACTS:
        raise Http404(f"{act!r:.40} is nothing to do with deliveries; {', '.join(ACTS)} are.")
    if not request.user.has_perms((ACTS[act].permission, "routing.view_delivery")):
        raise PermissionDenied
    search = DeliverySearch(request.GET, request.user)
    if not search.is_valid():
        raise Http404("These filters are none.")
    if unknown := asked_of(request).keys() - search.fields.keys():  # or more would be found than was asked for
        raise PermissionDenied(f"{', '.join(sorted(unknown))}: no such filter, or none of yours.")
    found: dict[str, Any] = {name: _number(request, name) for name in ("did", "passed", "released")}
    found["closing"] = request.user.has_perm(RELEASE)
    if request.method == "POST":
        look = search.walk().look(request.POST.get("before", ""), BATCH)
        done = _done(act, look.rows, closing=found["closing"])
        passed = max(len(look.rows) - done.did - done.released, 0)  # a breaker lets go of others too
        found |= {"did": found["did"] + done.did, "passed": found["passed"] + passed, "look": look}
        released, still = found["released"] + done.released, max(done.left_open, _number(request, "left_open"))
        found |= {"released": released, "let_go": released and let_go(released)}
        found |= {"left_open": still, "still": still and left_open(still)}
    said = [(field.label, _named(field)) for field in search if field.data]
    found |= {"title": ACTS[act].title, "act": act, "button": ACTS[act].button, "asked": asked_of(request).urlencode()}
    found["of"] = read_id(request.GET.get("endpoint", ""))  # whose page may have led here
    return render(request, "routing/bulk.html", {**admin.site.each_context(request), **found, "said": said})


def _named(field: Any) -> Any:
    """Return what is asked for as its list of choices calls it, or as it was written."""
    choices = {str(value): name for value, name in getattr(field.field.widget, "choices", ())}
    return choices.get(field.data, field.data)


def let_go(deliveries: int) -> str:
    """Return what to tell who tried deliveries now, and closed breakers by that."""
    said = ngettext(
        "%(count)s more was due and held back by a breaker, which is closed now.",
        "%(count)s more were due and held back by a breaker, which is closed now.",
        deliveries,
    )
    return said % {"count": deliveries}


def left_open(breakers: int) -> str:
    """Return what to tell who tried deliveries now, but may not close the breakers before them."""
    said = ngettext(
        "%(count)s breaker before them is still open, and you may not close it: single deliveries are tried, the "
        "others follow once one succeeds. Who may release lanes closes it on the page of the queue.",
        "%(count)s breakers before them are still open, and you may not close them: single deliveries are tried, the "
        "others follow once one succeeds. Who may release lanes closes them on the page of the queue.",
        breakers,
    )
    return said % {"count": breakers}


def _done(act: str, deliveries: Any, *, closing: bool) -> Done:
    """Do `act` with them: `closing` is whether breakers may be closed for it."""
    if act == "expedite":
        outcome = expedite(deliveries, closing=closing)
        return Done(outcome.expedited, outcome.released, outcome.left_open)
    return Done(_retry(deliveries) if act == "retry" else cancel(deliveries).cancelled)


def _retry(deliveries: Any) -> int:
    """Retry those that ended, whose endpoint takes something and whose payload is there."""
    able = [each for each in deliveries if each.state not in Delivery.OPEN and not problem_of(each.endpoint)]
    forgotten = Event.objects.filter(pk__in=[each.event_id for each in able], payload_forgotten_at__isnull=False)
    gone = set(forgotten.values_list("pk", flat=True))
    return len(retry([each for each in able if each.event_id not in gone]))


def _number(request: HttpRequest, name: str) -> int:
    given = request.POST.get(name, "")
    return int(given[:12]) if given.isdecimal() else 0
