"""What of a request is secret: the signatures of Standard Webhooks, and the endpoint's own headers."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from endpoints.checks import is_reserved
from endpoints.vault import Unreadable, unseal

__all__ = ["Unreadable", "own_headers", "signature", "signatures"]


def signatures(keys: Sequence[tuple[str, bytes]], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header: one signature over "id.timestamp.body" for each key, given as scheme and sealed key.

    Raises Unreadable where a key can't be opened, or there is none: nothing goes out unsigned.
    """
    if not keys:
        raise Unreadable
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"{scheme},{_SIGNERS[scheme](unseal(sealed), signed)}" for scheme, sealed in keys)


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `v1` signature by a secret of the form whsec_..."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return f"v1,{_v1(base64.b64decode(secret.removeprefix('whsec_')), signed)}"


def own_headers(sealed: Mapping[str, str]) -> dict[str, str]:
    """Return an endpoint's own headers, opened, without any that only the service may say. Raises Unreadable."""
    return {name: unseal(value.encode()).decode() for name, value in sealed.items() if not is_reserved(name)}


def _v1(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, sha256)).decode()


def _v1a(seed: bytes, signed: bytes) -> str:
    return base64.b64encode(_private_key(seed).sign(signed)).decode()


@lru_cache(4096)
def _private_key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


_SIGNERS = {"v1": _v1, "v1a": _v1a}
