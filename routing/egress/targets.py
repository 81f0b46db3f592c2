"""Where a request goes, read from its URL once."""

from functools import lru_cache

from endpoints.urls import Target, read_url
from routing.egress.errors import EgressError

__all__ = ["Target", "target_of"]


@lru_cache(4096)
def target_of(url: str) -> Target:
    """Return where `url` leads. Raises EgressError."""
    try:
        return read_url(url)
    except ValueError as problem:
        raise EgressError("BAD_URL", f"The URL {url[:200]!r} {problem}.") from problem
