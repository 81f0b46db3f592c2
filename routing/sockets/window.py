"""What a socket was sent and has not acknowledged, within bounds: events, and bytes of their frames."""

from bisect import bisect_right, insort
from collections.abc import Sequence
from datetime import datetime

import msgspec

from routing.sockets.reading import Owed

DEFAULT_EVENTS, DEFAULT_BYTES = 256, 4 << 20
MAX_EVENTS, MAX_BYTES = 10_000, 16 << 20


Begun = tuple[datetime, float]  # when something was sent: by the calendar, and by perf_counter


class Flight(msgspec.Struct, frozen=True, gc=False):
    """An event on its way: sent, and not heard of yet."""

    owed: Owed
    size: int
    begun: Begun


class Window:
    """Holds no frames: what has to be sent again is read again."""

    def __init__(self, *, events: int = DEFAULT_EVENTS, bytes: int = DEFAULT_BYTES) -> None:
        self.events, self.bytes = events, bytes
        self._flights: dict[int, Flight] = {}
        self._order: list[int] = []  # their numbers, ascending
        self._reserved: set[int] = set()  # for what will be sent again
        self._last = 0  # the highest number that was sent
        self._late: dict[int, int] = {}  # what came behind higher ones: the first number that was sent after it
        self._size = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def room(self) -> tuple[int, int]:
        """How many events and bytes more may be sent."""
        return self.events - len(self._order) - len(self._reserved), self.bytes - self._size

    def has_room(self, size: int) -> bool:
        """Tell whether a frame of that size fits; one alone always does."""
        taken = len(self._order) + len(self._reserved)
        return taken == 0 or (taken < self.events and self._size + size <= self.bytes)

    def reserve(self, seq: int) -> None:
        self._reserved.add(seq)

    def release(self, seq: int) -> None:
        self._reserved.discard(seq)

    def add(self, flight: Flight) -> None:
        seq = flight.owed.seq
        if seq < self._last:
            self._late[seq] = self._last + 1
        else:
            self._last = seq
        self.release(seq)
        if seq not in self._flights:
            insort(self._order, seq)
        self._flights[seq] = flight
        self._size += flight.size

    def take_up_to(self, seq: int) -> list[Flight]:
        """Take out all that are numbered up to `seq`, and were not sent after it."""
        numbers = self._order[: bisect_right(self._order, seq)]
        if self._late and (later := {number for number in numbers if self._is_later(number, seq)}):
            numbers = [number for number in numbers if number not in later]
        return self._take(numbers)

    def _is_later(self, number: int, seq: int) -> bool:
        """Tell whether `number`, a lower one, was sent after `seq`: that was on its way to who had not read it yet."""
        if number not in self._late:
            return False
        if seq in self._flights:
            return self._flights[number].begun[1] > self._flights[seq].begun[1]
        return self._late[number] > seq

    def _take(self, numbers: Sequence[int]) -> list[Flight]:
        """Take out those, which are in ascending order."""
        if not numbers:
            return []
        taken = [self._flights.pop(number) for number in numbers]
        if self._order[len(numbers) - 1] == numbers[-1]:
            del self._order[: len(numbers)]
        else:
            self._order = sorted(self._flights)
        if self._late:
            self._late = {number: after for number, after in self._late.items() if number in self._flights}
        self._size -= sum(flight.size for flight in taken)
        return taken

    def take(self, seq: int) -> Flight | None:
        """Take out the one of that number, if it is there."""
        flight = self._flights.pop(seq, None)
        if flight:
            self._order.remove(seq)
            self._late.pop(seq, None)
            self._size -= flight.size
        return flight

    def take_all(self) -> list[Flight]:
        return self._take(list(self._order))
