"""GraphQL operations, by whatever door they come: limits before work, errors with codes."""

import logging
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
from django.conf import settings
from django.db import DatabaseError
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    OperationType,
    create_source_event_stream,
    execute,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)

from endpoints.errors import BadInput, ServiceError, Unauthenticated
from endpoints.schema.access import Caller
from event_service.limits import MAX_COMMENTS, MAX_QUERY, MAX_TOKENS, Limits, roots_of
from event_service.operations import OneWorkspace
from event_service.schema import schema
from event_service.time_limit import time_limit

log = logging.getLogger(__name__)

MAX_ERRORS = 10  # of one document that are told; to find each may cost a search for names that are like it
# Where one finds what is given by other names: the API is published, and stays.
_ELSEWHERE = {
    f"Cannot query field '{name}' on type '{type}'.": f" Did you mean 'meta', which has {what}?"
    for type, names, what in (
        ("EndpointOutput", ("url", "method"), "url and method"),
        ("EventFiltersOutput", ("pattern", "definition", "eventFiltersInput"), "the filter as it was given"),
    )
    for name in names
}
_INTROSPECTION = re.compile(r"\b__(schema|type)\b")
_SUGGESTION = re.compile(r" Did you mean [^?]*\?")


class Call(msgspec.Struct):
    """What a client sends. Members that we don't know are ignored."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None
    extensions: dict[str, Any] | None = None  # not looked at


class Invalid(Exception):
    """A call of which nothing can be run."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Operation:
    """A call that is within the limits."""

    document: DocumentNode
    call: Call
    type: OperationType
    roots: int  # fields at its root

    @property
    def subscribes(self) -> bool:
        return self.type == OperationType.SUBSCRIPTION

    def run(self, caller: Caller, payload: Any = None) -> ExecutionResult:
        """Return what it gives; of a subscription, what it makes of one payload. Raises TooMany."""
        with time_limit():
            if payload is None:
                caller.charge(self.roots)
            result = execute(
                schema.graphql_schema,
                self.document,
                payload,
                execution_context_class=OneWorkspace,
                **self._context(caller),
            )
        assert isinstance(result, ExecutionResult)  # no resolver is async
        if self.type == OperationType.QUERY:
            caller.charge_afterwards(_rows(result.data))  # after the time limit: what was found is told
        return result

    async def follow(self, caller: Caller) -> AsyncGenerator[Any, None]:
        """Return a subscription's payloads. Raises Invalid."""
        stream = await create_source_event_stream(schema.graphql_schema, self.document, **self._context(caller))
        if isinstance(stream, ExecutionResult):
            raise Invalid(stream.errors or [])
        assert isinstance(stream, AsyncGenerator)
        return stream

    def _context(self, caller: Caller) -> dict[str, Any]:
        return {
            "context_value": caller,
            "variable_values": self.call.variables,
            "operation_name": self.call.operationName,
        }


def checked(call: Call, caller: Caller) -> Operation:
    """Return the operation that `call` asks for. Raises Invalid."""
    document = _parsed(call.query)
    if errors := _faults(document):
        raise Invalid(errors)
    if not settings.GRAPHIQL and _INTROSPECTION.search(call.query) and not is_known(caller):
        raise Invalid([_error(Unauthenticated("The schema is told to who has a key; docs/api.md is for everybody."))])
    chosen = get_operation_ast(document, call.operationName)
    if chosen is None:
        raise Invalid([GraphQLError("operationName is to name one of the operations in query, if there are several.")])
    return Operation(document, call, chosen.operation, roots_of(document, chosen))


def _faults(document: DocumentNode) -> list[GraphQLError]:
    graph = schema.graphql_schema
    try:
        # The limits come first, and alone: other rules take long for what is over them.
        return validate(graph, document, [Limits])[:1] or validate(graph, document, specified_rules, MAX_ERRORS)
    except GraphQLError as fault:  # of a rule that takes another one's for granted: a subscription's @skip without `if`
        return [fault]


def _rows(data: Any) -> int:
    """Return how many objects an answer holds, itself not counted."""
    if isinstance(data, list):
        return sum(isinstance(each, dict) + _rows(each) for each in data)
    if isinstance(data, dict):
        return sum(isinstance(each, dict) + _rows(each) for each in data.values())
    return 0


def _parsed(query: str) -> DocumentNode:
    if len(query) > MAX_QUERY:
        raise Invalid([GraphQLError(f"query has over {MAX_QUERY} characters; send large values as variables.")])
    try:
        return parse(query, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS)
    except GraphQLError as error:
        raise Invalid([error]) from None


def _error(cause: ServiceError) -> GraphQLError:
    return GraphQLError(cause.message, original_error=cause)


def is_known(caller: Caller) -> bool:
    """Tell whether the caller has a key that stands."""
    try:
        return bool(caller.grant)
    except (ServiceError, DatabaseError):
        return False


def formatted(error: GraphQLError, caller: Caller) -> dict[str, Any]:
    """Return what the client is told of `error`: of a fault of ours, no more than where the log has it."""
    cause = error.original_error
    # Without a path, or without a cause but itself, it is the request's own text that is at fault.
    if not isinstance(cause, ServiceError) and (error.path is None or isinstance(cause, GraphQLError | None)):
        message = error.message + _ELSEWHERE.get(error.message, "")
        told = _SUGGESTION.search(message) is None or is_known(caller)
        cause = BadInput(message if told else _SUGGESTION.sub("", message))
    return {**error.formatted, **described(cause)}


def described(cause: BaseException) -> dict[str, Any]:
    """Return the same of what is no field's error."""
    error = cause if isinstance(cause, ServiceError) else _internal(cause)
    extensions = {name: value for name, value in error.as_dict().items() if name != "message"}
    return {"message": error.message, "extensions": extensions}


def _internal(cause: BaseException) -> ServiceError:
    """Log what happened under an id and return an error that tells the client nothing else."""
    id_ = uuid4()
    log.error("GraphQL error %s", id_, exc_info=cause)
    return ServiceError(f"Something went wrong here; the log has it as {id_}.")
