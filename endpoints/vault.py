"""Secrets at rest: sealed with a key of the installation, so that a dump of the database tells none of them."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from endpoints.errors import ServiceError


class Unreadable(ServiceError):
    """No key of SEALING_KEYS opens a secret."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret can't be opened. The operator sets EVENT_SERVICE_SEALING_KEYS to the keys that it was "
            "sealed with, or the endpoint's secret is rotated and its headers are given again."
        )


def seal(secret: bytes) -> bytes:
    """Return `secret` encrypted with the newest key of SEALING_KEYS."""
    return _box(_keys()).encrypt(secret)


def unseal(sealed: bytes) -> bytes:
    """Return what was sealed with any key of SEALING_KEYS. Raises Unreadable."""
    try:
        return _open(_keys(), sealed)
    except InvalidToken:
        raise Unreadable from None


def seal_again(sealed: bytes) -> bytes:
    """Return the same secret sealed with the newest key: unchanged if it is so already. Raises Unreadable."""
    try:
        _box(_keys()[:1]).decrypt(sealed)
    except InvalidToken:
        return seal(unseal(sealed))
    return sealed


def fingerprint(secret: bytes) -> bytes:
    """Return what tells equal secrets without telling them, not even to who can guess one: SECRET_KEY takes part."""
    return salted_hmac("endpoints.vault.fingerprint", secret, algorithm="sha256").digest()


def _keys() -> tuple[str, ...]:
    return tuple(settings.SEALING_KEYS)


@lru_cache(4096)
def _open(keys: tuple[str, ...], sealed: bytes) -> bytes:
    return _box(keys).decrypt(sealed)


@lru_cache(8)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
