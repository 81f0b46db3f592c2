"""Signatures of Standard Webhooks."""

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256

from endpoints.vault import unseal


def signatures(keys: Sequence[tuple[str, bytes]], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header: one signature over "id.timestamp.body" for each key, given as scheme and sealed key."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(f"v1,{_v1(unseal(sealed), signed)}" for _, sealed in keys)


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `v1` signature by a secret of the form whsec_..."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return f"v1,{_v1(base64.b64decode(secret.removeprefix('whsec_')), signed)}"


def _v1(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, sha256)).decode()
