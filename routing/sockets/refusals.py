"""Why a websocket is refused or closed: the close codes of the API."""

from uuid import UUID

NOT_ALLOWED, FAILED, RESTART, TRY_AGAIN, NO_SUCH_ENDPOINT, ENDPOINT_GONE = 1008, 1011, 1012, 1013, 4404, 4410


class Refusal(Exception):
    """Why a websocket is closed.

    One that has a name is raised `.with_traceback(None)`: it would keep the frames of each time that it is raised, and
    with them what clients said.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


FAILURE = Refusal(FAILED, "The service failed, and its log says why; connect again.")
SWEPT = Refusal(RESTART, "This process stood still for too long; connect again.")
BEHIND = Refusal(TRY_AGAIN, "More deliveries changed than could be sent; connect again.")
RENUMBERED = Refusal(RESTART, "The endpoint's events were numbered anew; connect again.")
NO_DATABASE = Refusal(TRY_AGAIN, "The database does not answer; connect again.")


def endpoint_gone(endpoint_id: UUID) -> Refusal:
    return Refusal(ENDPOINT_GONE, f"The endpoint {endpoint_id} was deleted.")
