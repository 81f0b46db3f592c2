"""The door to the outside: where a URL leads, which addresses may be dialled, and one bounded exchange there."""

from routing.egress.addresses import judge
from routing.egress.answers import BODY_LIMIT, Answer
from routing.egress.door import Door
from routing.egress.errors import EgressError

__all__ = ["BODY_LIMIT", "Answer", "Door", "EgressError", "judge"]
