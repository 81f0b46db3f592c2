"""What a key looks like: es_live_, 43 characters from 256 random bits, and six of their checksum.

So who scans text for secrets finds keys by a pattern, and tells real ones from look-alikes without asking us:

    es_live_[0-9A-Za-z]{49}     the last six are the CRC-32 of all before them, in base 62
"""

import re
import secrets
import zlib
from string import ascii_lowercase, ascii_uppercase, digits

MARK = "es_live_"
SHOWN = len(MARK) + 6  # characters by which people recognise a key: the other 37 are 220 bits
_ALPHABET = digits + ascii_uppercase + ascii_lowercase
_RANDOM, _CHECKSUM = 43, 6
_FORM = re.compile(rf"{MARK}[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}")


def new_key() -> str:
    body = MARK + _in_base_62(secrets.randbits(256), _RANDOM)
    return body + checksum(body)


def is_key(text: str) -> bool:
    """Tell whether `text` may be a key of some installation. This is no secret: everybody can work it out."""
    return bool(_FORM.fullmatch(text)) and text[-_CHECKSUM:] == checksum(text[:-_CHECKSUM])


def checksum(body: str) -> str:
    return _in_base_62(zlib.crc32(body.encode()), _CHECKSUM)


def _in_base_62(number: int, length: int) -> str:
    figures = []
    for _ in range(length):
        number, rest = divmod(number, len(_ALPHABET))
        figures.append(_ALPHABET[rest])
    return "".join(reversed(figures))
