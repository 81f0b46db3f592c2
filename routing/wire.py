"""A connection on the event loop whose statements travel together: libpq's pipeline, as psycopg wraps it.

psycopg's own cursors and pipeline cost each statement eight times as much CPU, most of what a small commit takes.
"""

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus

from routing.plans import Row, Statement

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


class Wire:
    """For one task at a time. Once a trip did not come back, it is to be closed."""

    def __init__(self, connection: psycopg.AsyncConnection[Row]) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._socket = connection.pgconn.socket
        self._transformer = Transformer(connection)
        # Of what is prepared, by text and types: some 20, since all texts are constants and few types depend on values.
        self._names: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._prepared = 0
        self._results: list[PGresult] = []
        self._loop = asyncio.get_running_loop()
        self._back: asyncio.Future[None] | None = None
        self._libpq.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._read)

    @classmethod
    async def connect(cls, **parameters: Any) -> "Wire":
        """Raises psycopg's errors."""
        return cls(await psycopg.AsyncConnection.connect(**parameters, autocommit=True))

    @property
    def is_lost(self) -> bool:
        """Whether the other end is known to be gone: nothing that is sent now would arrive."""
        return self._socket < 0

    async def trip(self, statements: Sequence[Statement]) -> Sequence[Row]:
        """Send the statements at once and return the rows of the last one. After one that fails, none is run.

        Raises psycopg's errors: OperationalError where the connection is lost.
        """
        if self._loop is not asyncio.get_running_loop() or self._back is not None:
            raise psycopg.InterfaceError("This connection is in use, or of another event loop.")
        self._results = []
        new: dict[tuple[str, tuple[int, ...]], bytes] = {}
        for sql, parameters in statements:
            self._send(sql, parameters, new)
        self._libpq.pipeline_sync()
        self._back = self._loop.create_future()
        self._write()
        await self._back
        self._back = None
        rows = self._rows()
        self._names |= new
        return rows

    async def close(self) -> None:
        self._leave()
        await self._connection.close()

    def _send(self, sql: str, parameters: Sequence[Any], new: dict[tuple[str, tuple[int, ...]], bytes]) -> None:
        values = self._transformer.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        key = sql, self._transformer.types or ()
        name = self._names.get(key) or new.get(key)
        if name is None:
            # Never the same name again: what was sent with a statement that failed was not prepared.
            self._prepared += 1
            name = new[key] = b"%d" % self._prepared
            self._libpq.send_prepare(name, _numbered(sql), param_types=key[1])
        self._libpq.send_query_prepared(name, values, param_formats=self._transformer.formats)

    def _write(self) -> None:
        """Hand over to the kernel what it takes now."""
        try:
            left = self._libpq.flush()
        except psycopg.Error as error:
            self._fail(error)
            return
        if left:
            self._loop.add_writer(self._socket, self._write)
        else:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            self._libpq.consume_input()
            while self._back and not self._back.done() and not self._libpq.is_busy():
                result = self._libpq.get_result()
                if result is None:  # what stands between two statements
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    self._back.set_result(None)
                else:
                    self._results.append(result)
        except psycopg.Error as error:
            self._fail(error)

    def _fail(self, error: psycopg.Error) -> None:
        self._leave()
        if self._back and not self._back.done():
            self._back.set_exception(error)

    def _leave(self) -> None:
        """Hear no more of the socket, once: where the connection is lost, its number soon is another one's."""
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = -1

    def _rows(self) -> Sequence[Row]:
        for result in self._results:
            if result.status in _FAILED:
                state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
                raise _class_of(state)(result.get_error_message())
        last = self._results[-1]
        if last.status != ExecStatus.TUPLES_OK:
            return ()
        self._transformer.set_pgresult(last)
        rows: Sequence[Row] = self._transformer.load_rows(0, last.ntuples, tuple)
        return rows


@lru_cache(512)
def _numbered(sql: str) -> bytes:
    """Return the statement with PostgreSQL's own placeholders in place of `%s`."""
    numbers = iter(range(1, 1_000))
    return re.sub("%[s%]", lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", sql).encode()


def _class_of(state: str) -> type[psycopg.Error]:
    try:
        return psycopg.errors.lookup(state)
    except KeyError:
        return psycopg.DatabaseError
