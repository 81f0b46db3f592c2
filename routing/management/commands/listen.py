import secrets
import signal
from argparse import ArgumentParser
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from endpoints.checks import checked_secret, checked_url
from endpoints.errors import BadInput
from endpoints.telling import TellingCommand
from routing.forwarding import forward
from routing.listening import Ended, Event, Listener

REFUSED = (401, 403)
HINT_MADE = (
    "Does the receiver have the secret that signs here? Give it the one that is printed above, or start with "
    "--secret and the receiver's own."
)
HINT_GIVEN = "The receiver does not check by the secret that was given here, or refuses for a reason of its own."


class Command(TellingCommand):
    hint = HINT_MADE  # given once, or ""
    help = (
        "Print the events of a websocket endpoint, or forward them, signed as webhooks, to a URL that only this "
        "machine reaches. What is answered with a 2xx, or printed, is delivered; all else comes again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("endpoint", help="the id of a websocket endpoint")
        parser.add_argument("--forward-to", metavar="URL", help="POST each event there; printed where left out")
        parser.add_argument(
            "--secret",
            default=settings.CLIENT_SECRET or None,
            help="whsec_...: sign with it; EVENT_SERVICE_SECRET where left out, or one that is made and printed",
        )
        parser.add_argument(
            "--key",
            default=settings.CLIENT_KEY,
            help="a key with the scope subscribe; better in the environment, as EVENT_SERVICE_KEY",
        )
        parser.add_argument(
            "--service",
            default=f"ws://{settings.HOST}:{settings.PORT}",
            help="where the service is, as ws:// or wss://",
        )
        parser.add_argument("--from", dest="since", metavar="TIME", help="begin there, such as 2026-11-22T10:00:00Z")
        parser.add_argument("--share", metavar="GROUP", help="divide the events with others that listen as this group")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._listener(**options).run()
        except Ended as end:
            hint = "" if options["key"] else " No key was given: see --key."
            raise CommandError(f"{end}{hint}") from end
        except KeyboardInterrupt:
            self._remark("Stopped.")

    def _listener(
        self,
        *,
        endpoint: str,
        forward_to: str | None,
        secret: str | None,
        key: str,
        service: str,
        since: str | None,
        share: str | None,
        **_: Any,
    ) -> Listener:
        if not service.startswith(("ws://", "wss://")):
            raise CommandError(f"--service is {service!r}; write ws://HOST:PORT or wss://HOST:PORT.")
        asking = {"endpoint_id": endpoint, "from": since, "share": share}
        take = self._print
        if forward_to:
            _check(checked_url, forward_to, "--forward-to")
            # One at a time: while one is refused, those behind it wait, and nothing is forwarded out of its order.
            asking["window_events"] = "1"
            take = partial(self._forward, url=forward_to, secret=self._secret(secret))
        given = {name: value for name, value in asking.items() if value}
        return Listener(service.rstrip("/"), asking=given, key=key, take=take, tell=self._remark)

    def _secret(self, given: str | None) -> str:
        if given is None:
            made = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
            self._remark(f"Signing with {made}")
            return made
        _check(checked_secret, given, "--secret")
        self.hint = HINT_GIVEN
        return given

    def _print(self, event: Event) -> str:
        self.stdout.write(event.body.decode())  # JSON as it is
        self.stdout.flush()
        return ""

    def _forward(self, event: Event, *, url: str, secret: str) -> str:
        answer = forward(event, url, secret)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        type_ = event.type if event.type.isprintable() else ascii(event.type)  # a terminal obeys control characters
        outcome = f"{answer.status_code or answer.problem}  {answer.duration_ms:.0f} ms"
        self.tell(
            f"{at}  {event.id}  {type_}  {outcome}",
            **{"at": at, "id": event.id, "type": event.type, "statusCode": answer.status_code},
            **{"problem": answer.problem, "durationMs": round(answer.duration_ms)},
        )
        if answer.status_code in REFUSED and self.hint:
            self._remark(self.hint)
            self.hint = ""
        return answer.problem

    def _remark(self, text: str) -> None:
        """Say what is no event beside those, so that they can be piped on."""
        self.stderr.write(text, self.style.NOTICE)
        self.stderr.flush()


def _check(check: Callable[[str], object], given: str, option: str) -> None:
    try:
        check(given)
    except BadInput as error:
        raise CommandError(f"{option}: {error.message}") from error
