"""What can be wrong with a request. Each door (GraphQL, HTTP, websocket) translates these into its own form."""

from collections.abc import Sequence


class ServiceError(Exception):
    """A refusal that its reader can act on: `message` names the bad value and what would be right."""

    code = "INTERNAL"
    headers: Sequence[tuple[str, str]] = ()  # that an answer over HTTP has because of it

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def as_dict(self) -> dict[str, str]:
        """Return {"code", "message"} and, where one input is at fault, "field"."""
        found = {"code": self.code, "message": self.message}
        return found if self.field is None else {**found, "field": self.field}


class Unauthenticated(ServiceError):
    """There is no key, or none that is known, stands and has not expired."""

    code = "UNAUTHENTICATED"


class Forbidden(ServiceError):
    """The key lacks the scope, or what it asks for is not open to it."""

    code = "FORBIDDEN"


class NotFound(ServiceError):
    """There is no such thing in the key's workspace."""

    code = "NOT_FOUND"


class BadInput(ServiceError):
    """What was given can't be taken; `field` names it where one input is at fault."""

    code = "BAD_USER_INPUT"


class Conflict(ServiceError):
    """It contradicts what is there already, such as an id with other content."""

    code = "CONFLICT"


class Limited(ServiceError):
    """Too much: a rate limit, a quota, or work that a single request may not cause."""

    code = "LIMITED"


class Unavailable(ServiceError):
    """Not the client's fault, and worth trying again."""

    code = "UNAVAILABLE"
    headers = (("Retry-After", "1"),)
