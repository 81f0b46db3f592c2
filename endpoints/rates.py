"""How much a key, a workspace and an address may ask for, at all doors and of all processes together.

A unit is an event that is published, a field at the root of a GraphQL operation, or a row that a query has brought.
Each process takes units out of PostgreSQL ahead, more the faster they go, and spends them without asking anybody.
"""

import threading
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from endpoints.errors import Limited, Unavailable
from endpoints.models.spending import Policy, Spending, Taken, whole_seconds

HANDSHAKE = 10  # units, of opening a websocket
WRONG_KEY = 100  # of a key or a ticket that opens nothing
PER_LINK = (1_200, 60)  # units, seconds: of all who have opened one portal link
_AHEAD = 100  # a process takes no more than this part of a limit at once
_MOST_KNOWN = 20_000  # allowances that a process remembers
_FORGET_EVERY = 1_000  # times that something is charged

Headers = Sequence[tuple[str, str]]
Whose = tuple[Policy, Hashable]


class TooMany(Limited):
    """A refusal that ends by itself."""

    def __init__(self, policy: Policy, wait_s: float) -> None:
        self.retry_after_s = whole_seconds(wait_s)
        super().__init__(
            f"This {policy.name} may ask for {policy.units} units in {policy.seconds} s, and has; "
            f"try again in {self.retry_after_s} s."
        )
        self.headers = [("Retry-After", f"{self.retry_after_s}"), *_headers(policy, 0, self.retry_after_s)]


class Allowance:
    """What this process may spend for one subject before it has to ask."""

    def __init__(self, policy: Policy, subject: str) -> None:
        self.policy = policy
        self._subject = subject
        self._lock = threading.Lock()
        self._left = self._slice = self._slot = self._spent = self._left_to_others = 0
        self._ends_at = self._refused_until = 0.0
        self._refused = 0  # units for which there was no room

    def spend_at_once(self, units: int) -> bool:
        """Spend what this process has; return False where it has to ask, or is asking. Raises TooMany."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._spend(units)
        finally:
            self._lock.release()

    def spend(self, units: int) -> None:
        """Spend, after asking the database where need be. Raises TooMany."""
        with self._lock:
            if not self._spend(units):
                self._ask(units)
                self._spend(units)

    def give_back(self, units: int) -> None:
        with self._lock:
            self._left += units

    @property
    def left(self) -> int:
        return self._left + self._left_to_others

    def _spend(self, units: int) -> bool:
        if units <= 0:
            return True
        now = time.monotonic()
        if now < self._refused_until and units >= self._refused:
            raise TooMany(self.policy, self._refused_until - now)
        if now >= self._ends_at or units > self._left:
            return False
        self._left -= units
        self._spent += units
        return True

    def _ask(self, units: int) -> None:
        self._slice = min(self._next_slice(time.monotonic()), self.policy.units // _AHEAD)
        unused = self._slot, self._left
        self._left = 0
        taken = Spending.take(self._subject, self.policy, units, max(units, self._slice), unused)
        self._left_to_others = taken.left
        if taken.units:
            self._have(taken)
        else:
            self._refused, self._refused_until = units, time.monotonic() + taken.wait_s

    def _next_slice(self, now: float) -> int:
        """Twice as much as was too little, or as much as the slot that has just ended took."""
        if now < self._ends_at:
            return 2 * self._slice
        spent, self._spent = self._spent, 0
        return spent if now < self._ends_at + self.policy.slot_s else 0

    def _have(self, taken: Taken) -> None:
        self._left, self._slot = taken.units, taken.slot
        self._slice = max(self._slice, taken.units)
        self._ends_at = time.monotonic() + self.policy.slot_s


class Rates:
    """The allowances of one process."""

    def __init__(self) -> None:
        self._known: dict[Whose, Allowance] = {}
        self._charged = 0

    def of_address(self, address: str) -> list[Allowance]:
        return self._of("address", settings.RATE_PER_ADDRESS, _network(address)) if address else []

    def of_key(self, key_id: UUID, workspace_id: UUID) -> list[Allowance]:
        return [
            *self._of("key", settings.RATE_PER_KEY, key_id),
            *self._of("workspace", settings.RATE_PER_WORKSPACE, workspace_id),
        ]

    def of_link(self, link_id: UUID) -> list[Allowance]:
        """All who have opened a portal link together: what customers click on must not use up what producers have."""
        return self._of("link", settings.RATE_PER_ADDRESS and PER_LINK, link_id)

    def _of(self, name: str, rate: tuple[int, int] | None, whose: Hashable) -> list[Allowance]:
        if rate is None:
            return []
        policy = Policy(name, *rate)
        allowance = self._known.get((policy, whose))
        if allowance is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            allowance = self._known.setdefault((policy, whose), Allowance(policy, f"{name} {whose}"))
        return [allowance]

    def charge_at_once(self, allowances: Sequence[Allowance], units: int) -> bool:
        """Spend of all of them, or of none; return False where one of them has to ask. Raises TooMany."""
        for place, allowance in enumerate(allowances):
            try:
                if allowance.spend_at_once(units):
                    continue
            except TooMany:
                _give_back(allowances[:place], units)
                raise
            _give_back(allowances[:place], units)
            return False
        return True

    def charge(self, allowances: Sequence[Allowance], units: int) -> None:
        """Spend of all of them, or of none. Raises TooMany, and Unavailable where the database does not answer."""
        for place, allowance in enumerate(allowances):
            try:
                allowance.spend(units)
            except Limited:
                _give_back(allowances[:place], units)
                raise
            except (DatabaseError, InterfaceError):
                _give_back(allowances[:place], units)
                raise Unavailable("The database does not answer; try again in a second.") from None
        self._charged += bool(allowances)
        if allowances and self._charged % _FORGET_EVERY == 0:
            Spending.forget(2 * _longest_s())

    def charge_afterwards(self, allowances: Sequence[Allowance], units: int) -> None:
        """Spend, of each, as many as there are: who has run out is refused the next time."""
        for allowance in allowances:
            try:
                self.charge([allowance], units)
            except TooMany:
                with suppress(TooMany):
                    self.charge([allowance], allowance.left)

    def charge_wrong_key(self, address: str) -> None:
        """Make whoever tries keys pay for it; once there is nothing left, the next request is refused."""
        with suppress(TooMany):
            self.charge(self.of_address(address), WRONG_KEY)


def _longest_s() -> int:
    """Return the longest period of all limits, those that this process has not met among them."""
    limits = (PER_LINK, settings.RATE_PER_KEY, settings.RATE_PER_WORKSPACE, settings.RATE_PER_ADDRESS)
    return max(limit[1] for limit in limits if limit)


def headers(allowances: Sequence[Allowance]) -> Headers:
    """Return what the client is told of the tightest of its limits."""
    if not allowances:
        return []
    tightest = min(allowances, key=lambda allowance: allowance.left / allowance.policy.units)
    return _headers(tightest.policy, tightest.left, tightest.policy.seconds)


def _headers(policy: Policy, left: int, seconds: int) -> Headers:
    """Of draft-ietf-httpapi-ratelimit-headers-11."""
    return [
        ("RateLimit-Policy", f'"{policy.name}";q={policy.units};w={policy.seconds}'),
        ("RateLimit", f'"{policy.name}";r={left};t={seconds}'),
    ]


def _give_back(allowances: Sequence[Allowance], units: int) -> None:
    for allowance in allowances:
        allowance.give_back(units)


@lru_cache(10_000)
def _network(address: str) -> str:
    """Return the address, or of IPv6 the /64 that one customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:40]
    return str(ip_network(f"{parsed}/64", strict=False)) if isinstance(parsed, IPv6Address) else address


rates = Rates()
