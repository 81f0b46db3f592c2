"""Database work of websockets, off the event loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import connection

from endpoints.outage import OUTAGE

logger = logging.getLogger(__name__)

RETRY_S = 0.5  # between tries while the database does not answer

P = ParamSpec("P")
T = TypeVar("T")

# Few, and a connection for each at most: so much of the process's pool websockets may take.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="websockets")


# Apart, so that a query that takes long does not hold up what sockets are sent.
_query_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="websocket-queries")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do database work off the event loop."""
    return await _run(_threads, partial(work, *args, **kwargs))


async def in_query_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what a client asked for, and may take as long as it likes, off the event loop."""
    return await _run(_query_threads, partial(work, *args, **kwargs))


async def _run(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    def run() -> T:
        try:
            return work()
        finally:
            connection.close()  # gives it back to the pool

    return await asyncio.get_running_loop().run_in_executor(threads, run)


async def insist(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do database work that may be done twice, again and again until the database answers."""
    while True:
        try:
            return await in_thread(work, *args, **kwargs)
        except OUTAGE as error:
            logger.warning("Websockets wait for the database: %s", error)
        await asyncio.sleep(RETRY_S)
