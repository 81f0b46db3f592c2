"""The GraphQL view: one request, one operation."""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from graphql import ExecutionResult, GraphQLError

from endpoints.about import about
from endpoints.errors import BadInput, Limited, ServiceError
from endpoints.pages import page
from endpoints.rates import headers
from endpoints.schema.access import Caller
from event_service.answers import JsonLine
from event_service.execution import Call, Invalid, checked, described, formatted
from event_service.logs import name_refusal
from routing.tracing import accepted

SUBPROTOCOL = "graphql-transport-ws"  # at the same address: see subscriptions.py
MAX_BODY_BYTES = 1024 * 1024
# What an answer may be; the first where the client does not care. https://graphql.github.io/graphql-over-http/draft/
MEDIA_TYPES = ("application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8")
Pairs = Sequence[tuple[str, str]]  # headers


class Refused(Exception):
    """A request that is no GraphQL call, with the HTTP status to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# Keys travel in headers, which no foreign page can make a browser send; cookies are not looked at.
@csrf_exempt
def graphql(request: HttpRequest) -> HttpResponseBase:
    if settings.GRAPHIQL and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return page(request, "endpoints/graphiql.html")
    answer = _answer(request)
    # Whoever accepts neither gets JSON all the same: it says more than an empty 406.
    answer["Content-Type"] = request.get_preferred_type(MEDIA_TYPES) or MEDIA_TYPES[0]
    answer["Cache-Control"] = "no-store"
    patch_vary_headers(answer, ["Accept"])
    return answer


def _answer(request: HttpRequest) -> JsonLine:
    authorization, token = request.headers.get("Authorization"), request.headers.get("Token")
    origin = request.build_absolute_uri("/").rstrip("/")
    trace = accepted(request.headers.get("traceparent"))
    caller = Caller(authorization, token, request.META.get("REMOTE_ADDR", ""), origin, trace)
    try:
        with about(traceparent=trace):
            answer, status, sent = _told(_run(_call(request), caller), caller)
    except ServiceError as refusal:
        status = 429 if isinstance(refusal, Limited) else 503
        answer, sent = {"errors": [described(refusal)]}, refusal.headers
    except Refused as refusal:
        answer, status = {"errors": [described(BadInput(str(refusal)))]}, refusal.status
        sent = [("Allow", "POST")] if status == 405 else []
    if status != 200:
        name_refusal(request, answer["errors"][0]["extensions"]["code"], caller.key_prefix)
    return JsonLine(answer, status=status, headers=dict(sent))


def _call(request: HttpRequest) -> Call:
    """Return what the body asks for. The URL is not looked at. Raises Refused."""
    if request.method != "POST":
        raise Refused(405, f"The method is {request.method}; send queries by POST.")
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type != "application/json" or charset != "utf-8":
        given = request.headers.get("Content-Type", "")
        raise Refused(415, f"The content type is {given[:100]!r}; send application/json in UTF-8.")
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, f"The body has over {MAX_BODY_BYTES} bytes.")
    try:
        return msgspec.json.decode(body, type=Call)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f'The body is not {{"query": "...", "variables": {{...}}}}: {error}.') from None


def _run(call: Call, caller: Caller) -> ExecutionResult:
    try:
        operation = checked(call, caller)
    except Invalid as invalid:
        caller.charge(1)
        return ExecutionResult(errors=invalid.errors)
    if operation.subscribes:
        return ExecutionResult(errors=[GraphQLError(f"Subscriptions are for websockets, by {SUBPROTOCOL}.")])
    return operation.run(caller)


def _told(result: ExecutionResult, caller: Caller) -> tuple[dict[str, Any], int, Pairs]:
    """Return the answer, its status and headers: 200 where it ran, even if fields failed, 400 where it could not."""
    ran = result.errors is None or any(error.path for error in result.errors)
    answer: dict[str, Any] = {"data": result.data} if ran else {}
    if result.errors:
        answer["errors"] = [formatted(error, caller) for error in result.errors]
    return answer, 200 if ran else 400, headers(caller.allowances)
