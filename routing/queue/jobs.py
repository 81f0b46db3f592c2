"""What a worker gets from the queue and gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from endpoints.shaping import shaped

LEASE_S = 60  # at least twice the deadline of an attempt
DOUBT = 25  # that one process bears at a time


class Target(NamedTuple):
    """A webhook endpoint as it stood at the claim. The order is that of the query's columns."""

    endpoint_id: UUID
    workspace_id: UUID
    url: str
    method: str
    headers: Mapping[str, str]
    payload_format: str
    retry_policy: Mapping[str, Any]
    ordering: str
    keys: Sequence[tuple[str, bytes]]  # scheme and sealed key; the current ones first
    payload_shape: str | None = None  # its JSON text; None where data goes out as it came in


class Job(NamedTuple):
    """A claimed delivery, with all that a request is made of."""

    target: Target
    delivery_id: UUID
    workspace_id: UUID
    ordering_key: str  # "" where there is no order
    number: int  # of this attempt: 1, 2, 3 ...
    first_due_at: datetime  # when the delivery was made
    event_id: UUID
    type: str
    date: datetime
    source: str
    subject: str
    data: str
    claimed_at: datetime
    lease_token: UUID
    # Whether it may be what ends its workers: 0 at first, 1 after one loss, 5 after two and all of DOUBT after more. So
    # it is soon alone among those that were lost with it, and they are not taken for it.
    doubt: int = 0
    traceparent: str = ""  # of who published the event, or of its publication
    extensions: str = ""  # a JSON text; "" where there are none
    claim: str = ""  # of the claim, where that is traced

    @property
    def payload(self) -> str:
        """Return what the endpoint is sent of the event's data, a JSON text or ""."""
        return shaped(self.target.payload_shape, self.data)


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a claimed delivery. Without `started_at` nothing was tried and the claim is undone."""

    job: Job
    state: str
    reason: str = ""
    retry_after_s: float | None = None
    started_at: datetime | None = None
    duration_ms: float | None = None
    status_code: int | None = None
    error: str = ""
    error_detail: str = ""
    response_body: str = ""
    cause: str = ""
    pause_s: float = 0  # for which the receiver wants nothing more
    disable: str = ""  # why the endpoint is to be disabled, if it is
