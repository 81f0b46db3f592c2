"""GraphQL operations, by whatever door they come: limits before work, errors with codes."""

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
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

from endpoints.errors import BadInput, ServiceError
from endpoints.schema.access import Caller
from event_service.limits import MAX_COMMENTS, MAX_TOKENS, Limits
from event_service.schema import schema

log = logging.getLogger(__name__)

RULES = (*specified_rules, Limits)


class Call(msgspec.Struct):
    """What a client sends. Members that we don't know are ignored, as the protocol's extensions."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None


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
    subscribes: bool

    def run(self, caller: Caller, payload: Any = None) -> ExecutionResult:
        """Return what it gives; of a subscription, what it makes of one payload."""
        result = execute(schema.graphql_schema, self.document, payload, **self._context(caller))
        assert isinstance(result, ExecutionResult)  # no resolver is async
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


def checked(call: Call) -> Operation:
    """Return the operation that `call` asks for. Raises Invalid."""
    try:
        document = parse(call.query, max_lexical_tokens=MAX_TOKENS, max_comments=MAX_COMMENTS)
    except GraphQLError as error:
        raise Invalid([error]) from None
    if errors := validate(schema.graphql_schema, document, RULES):
        raise Invalid(errors)
    chosen = get_operation_ast(document, call.operationName)
    if chosen is None:
        raise Invalid([GraphQLError("operationName is to name one of the operations in query, if there are several.")])
    return Operation(document, call, subscribes=chosen.operation == OperationType.SUBSCRIPTION)


def formatted(error: GraphQLError) -> dict[str, Any]:
    """Return what the client is told of `error`: of a fault of ours, no more than where the log has it."""
    cause = error.original_error
    if error.path is None or isinstance(cause, GraphQLError | None):  # the request's own text is at fault
        cause = BadInput(error.message)
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
