"""The one door between GraphQL and the tables: whose rows a request sees, and which of them it names."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from endpoints.audit import Actor
from endpoints.auth import Grant, authenticate, presented_key
from endpoints.errors import BadInput, NotFound, Unauthenticated, Unavailable
from endpoints.keys import SHOWN
from endpoints.models import Scope
from endpoints.outage import OUTAGE
from endpoints.rates import Allowance, rates
from endpoints.tenancy import within

MAX_IDS = 1_000

Row = TypeVar("Row", bound=Model)


@dataclass
class Caller:
    """Who asks: the context of every resolver. The key is looked up when the first field needs it."""

    authorization: str | None = field(repr=False)
    token: str | None = field(repr=False)
    address: str = ""  # from where
    origin: str = ""  # where they reach us: https://events.example.com
    traceparent: str = ""  # of the request
    allowances: Sequence[Allowance] = ()  # what was charged last

    @cached_property
    def grant(self) -> Grant:
        return authenticate(presented_key(self.authorization, self.token))

    @property
    def key_prefix(self) -> str:
        """By what people recognise the key; "" where it is none, or was not looked up yet."""
        return presented_key(self.authorization, self.token)[:SHOWN] if "grant" in vars(self) else ""

    def transaction(self, operation: str) -> AbstractContextManager[None]:
        """Return a transaction in which the database itself shows the workspace of the key, and nothing else.

        What it changes is put down to the key.
        """
        actor = Actor("KEY", str(self.grant.key_id), self.grant.name, operation, self.address)
        return within(self.grant.workspace_id, actor.setting())

    def charge(self, units: int) -> None:
        """Charge the address, and the key and its workspace where there is one.

        Raises TooMany, and Unavailable where the database does not answer.
        """
        rates.charge(rates.of_address(self.address), units)
        if self.authorization or self.token:
            try:
                grant = self.grant
            except Unauthenticated:
                rates.charge_wrong_key(self.address)
                return
            except OUTAGE:
                raise Unavailable("The database does not answer; try again in a second.") from None
            self.allowances = rates.of_key(grant.key_id, grant.workspace_id)
            rates.charge(self.allowances, units)

    def charge_afterwards(self, units: int) -> None:
        """Charge the key and its workspace for what was done, with what they have left at most."""
        rates.charge_afterwards(self.allowances, units)

    def workspace_id(self, scope: str) -> UUID:
        """Return the workspace of the key. Raises Forbidden unless the key has `scope`."""
        self.grant.require(scope)
        return self.grant.workspace_id

    def own(self, rows: QuerySet[Row], scope: str) -> QuerySet[Row]:
        """Return those of `rows` that the key may reach. Raises Forbidden unless it has `scope`."""
        self.grant.require(scope)
        return self.beneath(rows)

    def beneath(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Return those of `rows` that may be shown beneath a field that has asked for its scope.

        This line is the tenancy of the whole API.
        """
        return rows.filter(workspace_id=self.grant.workspace_id)

    def beyond(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Return the same of what is not the endpoint's own. Raises Forbidden for a key that may only listen."""
        if self.grant.scopes == {Scope.SUBSCRIBE}:
            self.grant.require(Scope.READ)
        return self.beneath(rows)


def for_change(rows: QuerySet[Row]) -> QuerySet[Row]:
    """Lock what is read until the transaction ends; without a key lock, so that deliveries don't wait for it."""
    return rows.select_for_update(no_key=True, of=("self",))


def chosen(rows: QuerySet[Row], ids: Sequence[str | None], field: str) -> list[Row]:
    """Return the rows that `ids` name, each once.

    Raises NotFound for the first id that `rows` does not have, and BadInput for what is no id.
    """
    if not ids:
        raise BadInput(f"{field} is empty; name one id or more.", field)
    if len(ids) > MAX_IDS:
        raise BadInput(f"{field} has {len(ids)} ids; at most {MAX_IDS} are taken at once.", field)
    wanted = {as_id(given, field): given for given in ids}
    # In order of id: where they are locked, two such lists then never wait for each other in a ring.
    found = list(rows.filter(pk__in=wanted).order_by("pk"))
    missing = wanted.keys() - {row.pk for row in found}
    for id_, given in wanted.items():
        if id_ in missing:
            raise NotFound(f"There is no {rows.model._meta.verbose_name} {given}.", field)
    return found


def one(rows: QuerySet[Row], given: str, field: str) -> Row:
    """Return the row that `given` names, as `chosen` does."""
    return chosen(rows, [given], field)[0]


def as_id(given: str | None, field: str) -> UUID:
    """Return the UUID that `given` spells in its usual form. Raises BadInput."""
    try:
        id_ = UUID(given or "")
    except ValueError:
        id_ = None
    if id_ is None or str(id_) != str(given).lower():
        shown = "null" if given is None else f"{given[:60]!r}"
        raise BadInput(f"{field} {shown} is not a UUID, such as 52c6548d-3e17-4b9b-9268-ce51d6900530.", field)
    return id_
