"""The connection of the event door: statements that travel together, over libpq's pipeline."""

import asyncio
import socket
import uuid

import psycopg
import pytest
from django.db import connection
from psycopg.pq import ConnStatus

from routing.group_commit import _parameters
from routing.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True)


def on_a_wire(talk):
    """Run `talk` with a wire of its own and return what it returns."""
    parameters = _parameters()

    async def run():
        wire = await Wire.connect(**parameters)
        try:
            return await talk(wire)
        finally:
            await wire.close()

    return asyncio.run(run())


def end(pid):
    """End the backend, and wait until it has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    connection.close()


def test_the_rows_of_the_last_statement_come_back_as_what_they_are():
    some = uuid.uuid4()

    async def talk(wire):
        return await wire.trip([("SELECT 1", ()), ("SELECT %s::int + 1, %s::uuid[], '5%%', NULL", [1, [some]])])

    assert on_a_wire(talk) == [(2, [some], "5%", None)]


def test_behind_a_statement_that_fails_none_is_run_and_the_next_trip_is_as_ever():
    async def talk(wire):
        asked = [("BEGIN", ()), ("SELECT 1 / %s::int", [0]), ("SELECT %s::int", [5])]
        with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
            await wire.trip(asked)
        await wire.trip([("ROLLBACK", ())])
        return await wire.trip(asked[2:])

    assert on_a_wire(talk) == [(5,)]


def test_a_statement_is_prepared_once_for_each_kind_of_values():
    async def talk(wire):
        for value in (1, 2, "3", "4", 5):
            await wire.trip([("SELECT %s", [value])])
        return await wire.trip([("SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1'", ())])

    assert on_a_wire(talk) == [(2,)]


def test_more_than_the_kernel_holds_goes_both_ways_at_once():
    large = "x" * 8_000_000

    async def talk(wire):
        return await wire.trip([("SELECT %s::text", [large]), ("SELECT %s::text", [large])])

    assert on_a_wire(talk) == [(large,)]


def test_a_connection_that_is_lost_is_told_and_not_waited_for():
    async def talk(wire):
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(wire.trip([("SELECT pg_terminate_backend(pg_backend_pid())", ())]), 10)

    on_a_wire(talk)


def test_a_connection_that_was_lost_in_between_is_told_by_the_next_trip():
    async def talk(wire):
        ((pid,),) = await wire.trip([("SELECT pg_backend_pid()", ())])
        await asyncio.to_thread(end, pid)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(wire.trip([("SELECT 1", ())]), 10)

    on_a_wire(talk)


def test_a_connection_that_was_lost_is_not_left_a_second_time_by_a_number_that_another_has():
    async def talk(wire):
        ((pid,),) = await wire.trip([("SELECT pg_backend_pid()", ())])
        number = wire._socket
        await asyncio.to_thread(end, pid)
        heard = asyncio.Event()
        while wire._libpq.status != ConnStatus.BAD:  # until it has noticed
            await asyncio.sleep(0)
        one, other = socket.socketpair()  # gets the number, as the lowest that is free
        with one, other:
            here, there = (other, one) if other.fileno() == number else (one, other)
            assert here.fileno() == number
            asyncio.get_running_loop().add_reader(here, heard.set)
            await wire.close()
            there.send(b"x")
            await asyncio.wait_for(heard.wait(), 10)
            asyncio.get_running_loop().remove_reader(here)

    on_a_wire(talk)


def test_who_comes_while_a_trip_is_under_way_is_refused():
    async def talk(wire):
        under_way = asyncio.create_task(wire.trip([("SELECT 1", ())]))
        await asyncio.sleep(0)  # its turn
        with pytest.raises(psycopg.InterfaceError, match="in use"):
            await wire.trip([("SELECT 2", ())])
        return await under_way

    assert on_a_wire(talk) == [(1,)]
