"""What a transaction says to the database, apart from the connection that carries it there.

A plan is a generator: it yields statements and returns its result. The event door runs plans on the event loop, in
as few trips as they allow (group_commit.py); everybody else runs them on Django's connection, with `run`.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from django.db import connection, transaction

Statement = tuple[str, Sequence[Any]]
Row = tuple[Any, ...]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tell:
    """A statement whose rows nobody needs: it may travel with the next one, or with the COMMIT."""

    sql: str
    parameters: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Guess:
    """What an Ask most probably returns, and a statement that fails with WrongGuess where it would not.

    Who runs the plan may send that instead and save a trip, if it can run the plan once more.
    """

    rows: Sequence[Row]
    guard: Tell


@dataclass(frozen=True, slots=True)
class Ask:
    """A statement whose rows the plan needs before it goes on."""

    sql: str
    parameters: Sequence[Any] = ()
    guess: Guess | None = None


WrongGuess = psycopg.errors.InvalidArgumentForLogarithm  # of 0, which nothing else here asks for


Plan = Generator[Ask | Tell, Sequence[Row], Result]


def run(plan: Plan[Result]) -> Result:
    """Run `plan` in a transaction of Django's connection, or in the one that is open."""
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        try:
            step = next(plan)
            while True:
                cursor.execute(step.sql, step.parameters)
                step = plan.send(cursor.fetchall() if isinstance(step, Ask) else ())
        except StopIteration as end:
            result: Result = end.value
            return result
