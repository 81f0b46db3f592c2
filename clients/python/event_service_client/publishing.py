"""Publishing: POST /event-service/events, in batches, again and again until the service answers."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from event_service_client.backoff import pause_s, retry_after_s
from event_service_client.errors import EventRefused, EventsRefused, RequestRefused, Unavailable
from event_service_client.events import Event, Published
from event_service_client.version import VERSION

PATH = "/event-service/events"
MOST_EVENTS = 1_000  # of a request
MOST_BYTES = 5 * 1024 * 1024
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
MOST_PATIENCE_S = 60  # a Retry-After beyond it is the caller's to wait for

Result = Published | EventRefused


class _Settings:
    def __init__(self, url: str, key: str, *, timeout_s: float = 30, tries: int = 5) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(f"url is {url!r}; give the service's address, such as https://events.example.com.")
        if not key or not key.isascii() or not key.isprintable():
            raise ValueError("key is empty or no key; give one with the scope publish, such as es_live_...")
        if tries < 1:
            raise ValueError(f"tries is {tries}; give 1 or more.")
        self.url = url.rstrip("/") + PATH
        self.tries = tries
        headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "user-agent": f"event-service-client-python/{VERSION}",
        }
        self.http: dict[str, Any] = {"headers": headers, "timeout": timeout_s}

    def pause_s(self, problem: Unavailable, tried: int) -> float:
        """Return how long to wait before the next try. Raises the problem where there is none."""
        asked = problem.retry_after_s or 0
        if tried >= self.tries or asked > MOST_PATIENCE_S:
            raise problem
        return max(asked, pause_s(tried))

    def unanswered(self, error: httpx.TransportError) -> Unavailable:
        return Unavailable(f"{self.url} can't be reached: {error or type(error).__name__}")


class Client:
    """Publishes from any thread. Keep one for as long as the program runs: it keeps its connections."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 30, tries: int = 5) -> None:
        self._settings = _Settings(url, key, timeout_s=timeout_s, tries=tries)
        self._http = httpx.Client(**self._settings.http)

    def publish(self, event: Event) -> Published:
        """Return once the event is stored. Raises EventRefused, RequestRefused or Unavailable."""
        (result,) = self._send([event])
        return _accepted(result)

    def publish_many(self, events: Iterable[Event]) -> list[Published]:
        """Publish in requests of up to 1,000 events, in order. Raises EventsRefused, RequestRefused or Unavailable.

        After an error some may be published. Publishing the same Event objects again does no harm.
        """
        return _all_accepted([result for batch in batches(events) for result in self._send(batch)])

    def _send(self, batch: Sequence[Event]) -> list[Result]:
        for tried in count(1):
            try:
                answer = self._http.post(self._settings.url, content=_body(batch))
            except httpx.TransportError as error:
                judged: list[Result] | Unavailable = self._settings.unanswered(error)
            else:
                judged = _judge(answer, batch)
            if isinstance(judged, list):
                return judged
            time.sleep(self._settings.pause_s(judged, tried))
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """The same as Client, with `await`."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 30, tries: int = 5) -> None:
        self._settings = _Settings(url, key, timeout_s=timeout_s, tries=tries)
        self._http = httpx.AsyncClient(**self._settings.http)

    async def publish(self, event: Event) -> Published:
        (result,) = await self._send([event])
        return _accepted(result)

    async def publish_many(self, events: Iterable[Event]) -> list[Published]:
        return _all_accepted([result for batch in batches(events) for result in await self._send(batch)])

    async def _send(self, batch: Sequence[Event]) -> list[Result]:
        for tried in count(1):
            try:
                answer = await self._http.post(self._settings.url, content=_body(batch))
            except httpx.TransportError as error:
                judged: list[Result] | Unavailable = self._settings.unanswered(error)
            else:
                judged = _judge(answer, batch)
            if isinstance(judged, list):
                return judged
            await asyncio.sleep(self._settings.pause_s(judged, tried))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Divide events, in their order, into what fits a request each."""
    batch: list[Event] = []
    size = 2
    for event in events:
        more = len(event.encoded) + 1
        if batch and (len(batch) == MOST_EVENTS or size + more > MOST_BYTES):
            yield batch
            batch, size = [], 2
        batch.append(event)
        size += more
    if batch:
        yield batch


def _body(batch: Sequence[Event]) -> bytes:
    return b"[" + b",".join(event.encoded for event in batch) + b"]"


def _judge(answer: httpx.Response, batch: Sequence[Event]) -> list[Result] | Unavailable:
    """Return a result for each event, or why to try again. Raises RequestRefused."""
    told = _told(answer)
    if "events" in told:
        return [_result(item, event) for item, event in zip(told["events"], batch, strict=True)]
    error = told.get("error")
    message = (error.get("message") if isinstance(error, dict) else None) or answer.reason_phrase
    if answer.status_code in TEMPORARY:
        wait_s = retry_after_s(answer.headers.get("retry-after"))
        return Unavailable(f"{answer.url} answered {answer.status_code}: {message}", wait_s)
    raise RequestRefused(answer.status_code, message)


def _told(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object in the answer; a proxy's page of HTML tells nothing."""
    try:
        told = json.loads(answer.content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _result(item: dict[str, Any], event: Event) -> Result:
    if error := item.get("error"):
        return EventRefused(event.id, error["code"], error["message"], error.get("field"))
    return Published(item["id"], item["duplicate"])


def _accepted(result: Result) -> Published:
    if isinstance(result, EventRefused):
        raise result
    return result


def _all_accepted(results: Sequence[Result]) -> list[Published]:
    accepted = [result for result in results if isinstance(result, Published)]
    if len(accepted) < len(results):
        raise EventsRefused(results)
    return accepted
