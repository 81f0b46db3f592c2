"""What can go wrong. Each says which value was at fault, and whether trying again is of use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from event_service_client.events import Published


class EventServiceError(Exception):
    """All errors of this package, but for arguments that make no sense: these are ValueErrors."""


class EventRefused(EventServiceError):
    """The service read the event and did not take it. The same event would be refused again."""

    def __init__(self, event_id: str, code: str, message: str, field: str | None) -> None:
        super().__init__(f"Event {event_id} was refused ({code}): {message}")
        self.event_id, self.code, self.message, self.field = event_id, code, message, field


class EventsRefused(EventServiceError):
    """Some of many events were refused; the others are published. `results` has an answer for each, in their order."""

    def __init__(self, results: Sequence["Published | EventRefused"]) -> None:
        self.results = results
        self.refused = [result for result in results if isinstance(result, EventRefused)]
        super().__init__(f"{len(self.refused)} of {len(results)} events were refused. The first: {self.refused[0]}")


class RequestRefused(EventServiceError):
    """The service did not look at any event: the key, the address or the request is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"The service answered {status}: {message}")
        self.status, self.message = status, message


class Unavailable(EventServiceError):
    """The service could not be reached, or had no time, in all the tries. The same events may be published again."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s  # as the service said


class WebhookRefused(EventServiceError):
    """A request is not a webhook that the service signed with one of the secrets, just now. Answer it with 400."""


class ListeningEnded(EventServiceError):
    """The service closed the websocket for a reason that would only come again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The service ended the websocket with {code}: {reason}")
        self.code, self.reason = code, reason
