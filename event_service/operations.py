"""What each operation of the API needs, and what it passes before its resolver runs. What is not listed nobody may."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, transaction
from graphql import FieldNode, GraphQLError, GraphQLObjectType, GraphQLOutputType, located_error
from graphql.execution import ExecutionContext
from graphql.pyutils import Path

from endpoints.errors import Forbidden
from endpoints.models import Scope
from endpoints.schema.access import Caller

NEEDS = {
    Scope.PUBLISH: ("publishEvents",),
    Scope.READ: (
        *("endpoints", "eventsFilters", "workspace", "events", "deliveries", "attempts", "lanes", "sockets"),
        *("replays", "previewReplay", "eventTypes"),
        *("explainEventFilter", "explainDelivery", "backtestEventFilter"),
    ),
    Scope.MANAGE: (
        *("createWebSocketEndpoint", "createWebhookEndpoint", "updateEndpoint", "deleteEndpoints", "deleteEndpoint"),
        *("pauseEndpoints", "resumeEndpoints", "testEndpoint", "endpointSecret", "rotateEndpointSecret"),
        *("createEventFilters", "updateEventFilters", "deleteEventFilters"),
        *("linkEndpointsToEventFilters", "unlinkEndpointsToEventFilters", "updateEventType", "deleteEventTypes"),
        *("retryDeliveries", "expediteDeliveries", "cancelDeliveries", "createReplay", "cancelReplay"),
        *("auditLog", "apiKeys", "createApiKey", "rotateApiKey", "revokeApiKey"),
        *("portalLinks", "createPortalLink", "revokePortalLink", "portalTheme", "updatePortalTheme"),
    ),
    Scope.SUBSCRIBE: ("createSocketTicket", "eventReceived", "deliveryUpdated"),
}
SCOPES = {operation: scope for scope, operations in NEEDS.items() for operation in operations}
# They open their own transactions: none may be open while a request is on the wire, or while events are charged for.
BY_ITSELF = ("testEndpoint", "publishEvents")


class OneWorkspace(ExecutionContext):
    """Runs each operation in a transaction that is about the workspace of the caller's key."""

    _failed = False
    _cause: DatabaseError | None = None  # of a field beneath: no statement after it could succeed

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, field_nodes: list[FieldNode], path: Path
    ) -> Any:
        name = field_nodes[0].name.value
        if path.prev or name.startswith("__"):
            return super().execute_field(parent_type, source, field_nodes, path)
        self._failed, self._cause = False, None
        try:
            with self._admitted(name):
                return super().execute_field(parent_type, source, field_nodes, path)
        except Exception as error:  # as of any resolver: it is this field's
            located = located_error(self._cause or error, field_nodes, path.as_list())
            return self.handle_field_error(located, parent_type.fields[name].type, path)

    def handle_field_error(self, error: GraphQLError, return_type: GraphQLOutputType, path: Path) -> None:
        self._failed |= path.prev is None
        if isinstance(error.original_error, DatabaseError):
            self._cause = self._cause or error.original_error
        super().handle_field_error(error, return_type, path)

    @contextmanager
    def _admitted(self, operation: str) -> Iterator[None]:
        caller: Caller = self.context_value
        caller.grant.require(needed(operation))
        if operation in BY_ITSELF:
            yield
            return
        with caller.transaction(operation):
            yield
            if self._failed:
                transaction.set_rollback(True)


def needed(operation: str) -> Scope:
    """Return the scope that `operation` needs. Raises Forbidden where nobody has said."""
    try:
        return SCOPES[operation]
    except KeyError:
        raise Forbidden(f"{operation} is not open to any key.") from None
