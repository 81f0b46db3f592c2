"""The Python client's verification: the three examples of its README get what the service's worker really sends."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from django.test import RequestFactory
from standardwebhooks import Webhook as IndependentWebhook

from endpoints.models import Endpoint, Workspace
from event_service_client import ReceivedEvent, Webhook, WebhookRefused
from routing.worker import Worker
from tests.receiver import Receiver, Request
from tests.service import ROOT
from tests.traffic import record

README = (ROOT / "clients/python/README.md").read_text()
SECRET, OLD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"id":"0198","type":"order.paid","date":"2026-11-22T10:00:00.000000+00:00","workspaceId":"w","data":{"n":1.0}}'


def headers(*secrets: str, body: bytes = BODY, age_s: float = 0) -> dict[str, str]:
    """Sign as an independent library does."""
    at = datetime.fromtimestamp(time.time() - age_s, UTC)
    signatures = [IndependentWebhook(secret).sign("0198", at, body.decode()) for secret in secrets]
    return {
        "Webhook-Id": "0198",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": " ".join(["v1a,AAAA", *signatures]),
    }


@contextmanager
def working() -> Iterator[None]:
    worker = Worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


@pytest.fixture
def sent(transactional_db: None, workspace: Workspace, receiver: Receiver) -> tuple[Request, str]:
    """A webhook as a worker sent it, and the secret of its endpoint."""
    endpoint = Endpoint.create_webhook(workspace_id=workspace.pk, name="hook", url=f"{receiver.url}/hook")
    record(workspace)
    with working():
        receiver.wait_for_count(1)
    return receiver.requests[0], endpoint.secret


def example(framework: str, secret: str) -> dict[str, Any]:
    [code] = re.findall(rf"```python\n# {framework}\n(.*?)```", README, re.DOTALL)
    assert '"whsec_..."' in code
    module: dict[str, Any] = {"__name__": f"{framework}_example"}
    exec(code.replace("whsec_...", secret), module)
    return module


def by_django(module: dict[str, Any], body: bytes, headers: dict[str, str]) -> int:
    request = RequestFactory().post("/hook", body, "application/json", headers=headers)
    return int(module["receive"](request).status_code)


def by_flask(module: dict[str, Any], body: bytes, headers: dict[str, str]) -> int:
    return int(module["app"].test_client().post("/hook", data=body, headers=headers).status_code)


def by_fastapi(module: dict[str, Any], body: bytes, headers: dict[str, str]) -> int:
    async def post() -> int:
        transport = httpx.ASGITransport(app=module["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://example.com") as client:
            return (await client.post("/hook", content=body, headers=headers)).status_code

    return asyncio.run(post())


def test_the_examples_take_what_a_worker_sent_and_nothing_else(
    sent: tuple[Request, str], capsys: pytest.CaptureFixture[str]
) -> None:
    request, secret = sent
    told = {name: request.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
    given = {f"webhook-{name}": value for name, value in told.items()}
    ways: dict[str, Callable[..., int]] = {"Django": by_django, "Flask": by_flask, "FastAPI": by_fastapi}
    for framework, post in ways.items():
        module = example(framework, secret)
        assert post(module, request.body, given) == 204, framework
        assert capsys.readouterr().out == "order.paid 1.0\n"
        assert post(module, request.body + b" ", given) == 400, framework
        assert capsys.readouterr().out == ""


def test_an_event_is_what_the_body_says() -> None:
    event = Webhook(SECRET).verify(BODY, headers(SECRET))

    assert (event.id, event.type, event.workspace_id, event.data) == ("0198", "order.paid", "w", {"n": 1.0})
    assert (event.date, event.source, event.subject) == (datetime(2026, 11, 22, 10, tzinfo=UTC), "", "")
    assert (event.extensions, ReceivedEvent.of({**json.loads(BODY), "extensions": {"x": 1}}).extensions) == (
        {},
        {"x": 1},
    )


@pytest.mark.parametrize(
    ("held", "signed"),
    [([SECRET], [SECRET, OLD_SECRET]), ([SECRET, OLD_SECRET], [OLD_SECRET]), ([OLD_SECRET], [SECRET, OLD_SECRET])],
)
def test_a_secret_may_be_rotated_on_either_side(held: list[str], signed: list[str]) -> None:
    assert Webhook(*held).verify(BODY, headers(*signed)).id == "0198"


def test_what_is_no_event_is_verified_without_reading_it() -> None:
    given = headers(SECRET, body=b"<xml>")

    assert Webhook(SECRET).verify_signature(b"<xml>", given) == "0198"
    with pytest.raises(WebhookRefused, match="b'<xml>' is signed, but it is no event in the format STANDARD"):
        Webhook(SECRET).verify(b"<xml>", given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (lambda: {}, "The header webhook-id is missing"),
        (
            lambda: headers(OLD_SECRET),
            r"None of the 1 signatures \(v1\) in webhook-signature is by one of the 1 secrets",
        ),
        (lambda: {**headers(SECRET), "Webhook-Id": "0199"}, "None of the 1 signatures"),
        (lambda: {**headers(SECRET), "Webhook-Signature": "v1,%%% v2,AAAA nonsense"}, "None of the 0 signatures"),
        (lambda: {**headers(SECRET), "Webhook-Signature": "v1,\xe9"}, "None of the 0 signatures"),
        (lambda: {**headers(SECRET), "Webhook-Timestamp": "soon"}, "webhook-timestamp is 'soon'; it should be seconds"),
        (lambda: {**headers(SECRET), "Webhook-Timestamp": "9" * 400}, "webhook-timestamp is '999"),
        (lambda: headers(SECRET, age_s=400), r"4\d\d s ago by this machine's clock; 300 s are tolerated\."),
        (lambda: headers(SECRET, age_s=-400), r"(3|4)\d\d s ahead by this"),
    ],
)
def test_what_is_not_signed_just_now_is_refused_with_the_reason(
    given: Callable[[], dict[str, str]], problem: str
) -> None:
    with pytest.raises(WebhookRefused, match=problem):
        Webhook(SECRET).verify(BODY, given())


def test_the_tolerance_can_be_another() -> None:
    assert Webhook(SECRET, tolerance_s=1000).verify(BODY, headers(SECRET, age_s=400)).id == "0198"


def test_what_is_no_secret_is_said_without_showing_it() -> None:
    for secrets in (["mine"], [SECRET, "whsec_not base64!"], []):
        with pytest.raises(ValueError, match="secret|Secret 1 is not|Secret 2 is not") as error:
            Webhook(*secrets)
        assert [secret for secret in secrets if secret in str(error.value)] == []
    with pytest.raises(TypeError, match="body is a str; give the raw bytes"):
        Webhook(SECRET).verify(BODY.decode(), headers(SECRET))  # type: ignore[arg-type]
