"""Verifying webhooks: the signatures of Standard Webhooks, v1."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from event_service_client.errors import WebhookRefused
from event_service_client.events import ReceivedEvent

PREFIX = "whsec_"
TOLERANCE_S = 300


class Webhook:
    """Holds the secrets of an endpoint: one, or the old and the new one while they are rotated."""

    def __init__(self, *secrets: str, tolerance_s: float = TOLERANCE_S) -> None:
        if not secrets:
            raise ValueError("There is no secret; give the endpoint's, such as whsec_...")
        self._keys = [_key(secret, place) for place, secret in enumerate(secrets, 1)]
        self._tolerance_s = tolerance_s

    def verify(self, body: bytes, headers: Mapping[str, str]) -> ReceivedEvent:
        """Return the event of a request that the service signed. Raises WebhookRefused.

        `body` is that of the request, byte for byte, before any parser has seen it.
        """
        self.verify_signature(body, headers)
        try:
            return ReceivedEvent.of(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            raise WebhookRefused(
                f"The body {body!r:.100} is signed, but it is no event in the format STANDARD ({error!r}); "
                "use verify_signature for other formats."
            ) from error

    def verify_signature(self, body: bytes, headers: Mapping[str, str]) -> str:
        """Return the webhook-id of a signed request, whatever its body is. Raises WebhookRefused."""
        if not isinstance(body, bytes):
            raise TypeError(f"body is a {type(body).__name__}; give the raw bytes of the request's body.")
        given = {name.lower(): value for name, value in headers.items()}
        id_, timestamp, signatures = (_header(given, name) for name in ("id", "timestamp", "signature"))
        self._check_age(timestamp)
        signed = b".".join([id_.encode(), timestamp.encode(), body])
        right = [hmac.digest(key, signed, hashlib.sha256) for key in self._keys]
        presented = _presented(signatures)
        # All are compared, and each in constant time.
        if not sum(hmac.compare_digest(one, other) for one in right for other in presented):
            raise WebhookRefused(
                f"None of the {len(presented)} signatures (v1) in webhook-signature is by one of the "
                f"{len(right)} secrets: the secret is of another endpoint, or the body is not what was sent."
            )
        return id_

    def _check_age(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15):
            raise WebhookRefused(f"webhook-timestamp is {timestamp!r:.40}; it should be seconds since 1970.")
        age_s = time.time() - int(timestamp)
        if abs(age_s) > self._tolerance_s:
            raise WebhookRefused(
                f"webhook-timestamp is {timestamp}, {abs(age_s):.0f} s {'ago' if age_s > 0 else 'ahead'} by this "
                f"machine's clock; {self._tolerance_s:g} s are tolerated."
            )


def _key(secret: str, place: int) -> bytes:
    try:
        if not secret.startswith(PREFIX):
            raise ValueError
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:  # binascii.Error is one. The secret is not shown: errors end in logs
        raise ValueError(f"Secret {place} is not {PREFIX} and base64; copy what endpointSecret shows.") from None


def _header(given: Mapping[str, str], name: str) -> str:
    value = given.get(f"webhook-{name}")
    if not value:
        raise WebhookRefused(f"The header webhook-{name} is missing: this request is no webhook of the service.")
    return value


def _presented(signatures: str) -> list[bytes]:
    """Return what stands in webhook-signature of version v1; there may be others, such as v1a."""
    found = []
    for signature in signatures.split(" "):
        kind, _, text = signature.partition(",")
        if kind == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except ValueError:  # of letters that are not ASCII, too
                continue
    return found
