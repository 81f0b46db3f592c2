"""Cursors: by which a websocket's reader says where it stands, EPOCH-SEQ such as 3f9a01bc-1024.

The epoch stands for one numbering of an endpoint's deliveries. It is another one after the database was restored into a
new server, or by `manage.py new_epoch`: the same number may then mean another event.
"""

import re

import msgspec

from routing.sockets.refusals import NOT_ALLOWED, Refusal

START = "0"  # before the first event that there is
_CURSOR = re.compile(r"([0-9a-f]{8})-(0|[1-9][0-9]{0,17})", re.ASCII)


def spelt(epoch: str, seq: int) -> str:
    return f"{epoch}-{seq}"


class Cursor(msgspec.Struct, frozen=True):
    epoch: str
    seq: int

    def __str__(self) -> str:
        return spelt(self.epoch, self.seq)


def parse(text: str, field: str) -> Cursor | None:
    """Return the cursor that `text` spells, None for START. Raises Refusal."""
    if text == START:
        return None
    if found := _CURSOR.fullmatch(text):
        return Cursor(found[1], int(found[2]))
    raise Refusal(NOT_ALLOWED, f"{field} is {text!r:.40}; give the cursor of an event, or 0.")
