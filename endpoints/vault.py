"""Secrets at rest: sealed with a key of the installation, so that a dump of the database tells none of them."""

from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def seal(secret: bytes) -> bytes:
    """Return `secret` encrypted with the newest key of SEALING_KEYS."""
    return _box(tuple(settings.SEALING_KEYS)).encrypt(secret)


@lru_cache(4096)
def unseal(sealed: bytes) -> bytes:
    """Return what was sealed with any key of SEALING_KEYS. Raises cryptography.fernet.InvalidToken."""
    return _box(tuple(settings.SEALING_KEYS)).decrypt(sealed)


def seal_again(sealed: bytes) -> bytes:
    """Return the same secret, sealed with the newest key."""
    return _box(tuple(settings.SEALING_KEYS)).rotate(sealed)


@lru_cache(8)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
