"""The GraphQL view: one request, one operation; limits before work; errors with codes."""

import logging
from typing import Any
from uuid import uuid4

import msgspec
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from graphql import ExecutionResult, GraphQLError, execute, parse, specified_rules, validate

from endpoints.errors import BadInput, ServiceError
from endpoints.pages import page
from endpoints.schema.access import Caller
from event_service.limits import MAX_COMMENTS, MAX_TOKENS, Limits
from event_service.schema import schema

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
RULES = (*specified_rules, Limits)


class Call(msgspec.Struct):
    """The body of a request. Members that we don't know are ignored, as the protocol's extensions."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None


class Refused(Exception):
    """A request that is no GraphQL call, with the HTTP status to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


# Keys travel in headers, which no foreign page can make a browser send; cookies are not looked at.
@csrf_exempt
def graphql(request: HttpRequest) -> HttpResponseBase:
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return page(request, "endpoints/graphiql.html")
    try:
        call = _call(request)
    except Refused as refusal:
        error = BadInput(str(refusal))
        answer = JsonResponse({"errors": [_error(error.message, error)]}, status=refusal.status)
        if refusal.status == 405:
            answer["Allow"] = "POST"
        return answer
    return _answer(_run(call, Caller(request.headers.get("Authorization"), request.headers.get("Token"))))


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
        document = parse(call.query, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS)
    except GraphQLError as error:
        return ExecutionResult(errors=[error])
    if errors := validate(schema.graphql_schema, document, RULES):
        return ExecutionResult(errors=errors)
    result = execute(
        schema.graphql_schema,
        document,
        context_value=caller,
        variable_values=call.variables,
        operation_name=call.operationName,
    )
    assert isinstance(result, ExecutionResult)  # no resolver is async
    return result


def _answer(result: ExecutionResult) -> JsonResponse:
    """Return 200 for an operation that ran, even where fields of it failed, and 400 for one that could not."""
    ran = result.errors is None or any(error.path for error in result.errors)
    answer: dict[str, Any] = {"data": result.data} if ran else {}
    if result.errors:
        answer["errors"] = [_formatted(error) for error in result.errors]
    return JsonResponse(answer, status=200 if ran else 400)


def _formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    if error.path is None or isinstance(cause, GraphQLError | None):  # the request's own text is at fault
        cause = BadInput(error.message)
    if not isinstance(cause, ServiceError):
        cause = _internal(cause)
    return {**error.formatted, **_error(cause.message, cause)}


def _error(message: str, error: ServiceError) -> dict[str, Any]:
    extensions = {name: value for name, value in error.as_dict().items() if name != "message"}
    return {"message": message, "extensions": extensions}


def _internal(cause: BaseException) -> ServiceError:
    """Log what happened under an id and return an error that tells the client nothing else."""
    id_ = uuid4()
    log.error("GraphQL error %s", id_, exc_info=cause)
    return ServiceError(f"Something went wrong here; the log has it as {id_}.")
