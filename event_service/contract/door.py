"""GET of what the service says of itself, as introspection does: to everybody, or to keys where there is no editor."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from endpoints.errors import ServiceError, Unauthenticated
from endpoints.schema.access import Caller
from event_service.answers import JsonLine
from event_service.contract import document
from event_service.execution import is_known


@csrf_exempt  # which would answer 403 to what is no GET, and not 405
@require_safe
def tell(request: HttpRequest, name: str) -> HttpResponse:
    caller = Caller(
        request.headers.get("Authorization"), request.headers.get("Token"), request.META.get("REMOTE_ADDR", "")
    )
    if not (settings.GRAPHIQL or is_known(caller)):
        return _refused(Unauthenticated("This is told to who has a key; docs/reference is for everybody."), 401)
    media_type = "application/json" if name.endswith(".json") else "text/plain; charset=utf-8"
    return HttpResponse(document(name), content_type=media_type)


def _refused(error: ServiceError, status: int) -> JsonLine:
    return JsonLine({"error": error.as_dict()}, status=status)
