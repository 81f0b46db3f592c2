"""What pages for people cost the address that asks for them, as every other door does."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from endpoints.errors import Unavailable
from endpoints.rates import TooMany, rates
from event_service.audited import PLACES, address
from routing.portal.door import PATH

CHARGED = (*PLACES, PATH)
View = Callable[[HttpRequest], HttpResponseBase]


class Charged:
    """Middleware: a unit for each page. It stands before the pages' transactions, which may not see what was spent."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(CHARGED):
            try:
                rates.charge(rates.of_address(address(request)), 1)
            except (TooMany, Unavailable) as refusal:
                status = 429 if isinstance(refusal, TooMany) else 503
                return HttpResponse(refusal.message, "text/plain", status, headers=dict(refusal.headers))
        return self._get_response(request)
