"""How a webhook is sent to: when again and for how long, how much at once, how fast, in which order, form and shape."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypedDict

import msgspec
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from msgspec import Meta

from endpoints import shaping
from endpoints.errors import BadInput

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 50
MAX_IN_FLIGHT = 1_000
MAX_RATE = 1_000_000  # in one period
DAY_S = 86_400
# The schedule of Standard Webhooks, after an attempt at once; about three days in all.
SCHEDULE_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, DAY_S)

Wait = Annotated[float, Meta(ge=0, le=7 * DAY_S)]


class _Exponential(msgspec.Struct, forbid_unknown_fields=True):
    first: Wait
    attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)]
    factor: Annotated[float, Meta(ge=1, le=10)] = 2
    longest: Wait = DAY_S

    def waits_s(self) -> tuple[float, ...]:
        return tuple(min(self.first * self.factor**n, self.longest) for n in range(self.attempts - 1))


class _Document(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A policy as people write it."""

    schedule: Annotated[tuple[Wait, ...], Meta(max_length=MAX_ATTEMPTS - 1)] | None = None
    exponential: _Exponential | None = None
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    max_age_seconds: Annotated[float, Meta(ge=1, le=30 * DAY_S)] | None = None
    deadline_seconds: Annotated[float, Meta(ge=1, le=30)] = 15
    final_statuses: frozenset[Annotated[int, Meta(ge=400, le=499)]] = frozenset()

    def waits_s(self) -> tuple[float, ...]:
        if self.exponential is not None:
            return self.exponential.waits_s()
        return SCHEDULE_S if self.schedule is None else self.schedule


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    waits_s: tuple[float, ...] = SCHEDULE_S  # after the first failure, the second ...; after the last it is given up
    jitter: float = 0.2  # of a wait, either way, so that what failed together is not tried again together
    max_age_s: float | None = None  # of a delivery, beyond which no attempt starts
    deadline_s: float = 15  # of an attempt, by the clock on the wall
    final_statuses: frozenset[int] = frozenset()  # 4xx that end a delivery at once

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Return the policy that `document` describes; what it leaves out is the default. Raises BadInput."""
        try:
            given = msgspec.convert(document, _Document)
        except msgspec.ValidationError as error:
            raise _refusal(document, str(error)) from None
        if given.schedule is not None and given.exponential is not None:
            raise BadInput(_("retryPolicy has both schedule and exponential; give one of the two."), "retryPolicy")
        return cls(given.waits_s(), given.jitter, given.max_age_seconds, given.deadline_seconds, given.final_statuses)

    @classmethod
    def kept(cls, document: Mapping[str, Any]) -> Self:
        """Return the policy of an endpoint. One that other hands wrote and nobody can read counts as the default."""
        if not document:
            return cls()
        try:
            return cls.parse(document)
        except BadInput as refusal:
            logger.error("An endpoint's retry policy can't be read, the default is used: %s", refusal)
            return cls()


class RateLimit(TypedDict):
    count: int
    period_seconds: int


class Settings(TypedDict, total=False):
    """What may be chosen of how a webhook is sent to, and the shape for websockets too; None is the default."""

    retry_policy: Mapping[str, Any] | None
    max_in_flight: int | None
    rate_limit: RateLimit | None
    ordering: str | None
    payload_format: str | None
    payload_shape: Mapping[str, Any] | None


def published(setting: str) -> str:
    """Return the name under which the API has a setting: retry_policy is retryPolicy."""
    first, *others = setting.split("_")
    return first + "".join(map(str.capitalize, others))


def as_columns(settings: Settings) -> dict[str, Any]:
    """Return the values under which an endpoint keeps `settings`. Raises BadInput."""
    columns: dict[str, Any] = {}
    if "retry_policy" in settings:
        columns["retry_policy"] = checked_retry_policy(_stated(settings["retry_policy"] or {}))
    if "max_in_flight" in settings:
        columns["max_in_flight"] = checked_max_in_flight(settings["max_in_flight"])
    if "rate_limit" in settings:
        rate = settings["rate_limit"]
        columns["rate_limit"] = checked_rate_limit(rate and rate["count"])
        columns["rate_period_s"] = 1 if rate is None else checked_rate_period_s(rate["period_seconds"])
    if "ordering" in settings:
        columns["ordering"] = settings["ordering"] or "UNORDERED"
    if "payload_format" in settings:
        columns["payload_format"] = settings["payload_format"] or "STANDARD"
    if "payload_shape" in settings:
        columns["payload_shape"] = checked_payload_shape(settings["payload_shape"])
    return columns


def checked_retry_policy(document: Any) -> Any:
    RetryPolicy.parse(document)
    return document


def checked_payload_shape(document: Any) -> Any:
    if document is not None:
        shaping.check(document)
    return document


def checked_max_in_flight(count: int | None) -> int | None:
    return None if count is None else _within("maxInFlight", count, MAX_IN_FLIGHT)


def checked_rate_limit(count: int | None) -> int | None:
    return None if count is None else _within("rateLimit.count", count, MAX_RATE)


def checked_rate_period_s(seconds: int) -> int:
    return _within("rateLimit.periodSeconds", seconds, DAY_S)


def _stated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is null: it is as good as not given."""
    return {
        name: _stated(member) if isinstance(member, dict) else member
        for name, member in document.items()
        if member is not None
    }


def _within(field: str, value: int, most: int) -> int:
    if not 1 <= value <= most:
        said = _("%(field)s is %(given)s; it is between 1 and %(most)s.")
        raise BadInput(said % {"field": field, "given": value, "most": most}, field)
    return value


def _refusal(document: Any, problem: str) -> BadInput:
    """Return what msgspec says, such as "Expected `int` <= 499 - at `$.finalStatuses[0]`", with the value at fault."""
    said, _at, place = problem.partition(" - at `$")
    path = place.rstrip("`")
    value = document
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    found = {"path": f"retryPolicy{path}", "given": f"{value!r:.60}", "problem": _in_words(said)}
    return BadInput(_("%(path)s is %(given)s: %(problem)s.") % found, f"retryPolicy{path}")


def _in_words(said: str) -> str:
    for form, words in _SAID:
        if match := form.fullmatch(said):
            return _(words) % match.groupdict()
    return said.replace("`", "")


# What msgspec says.
_SAID = tuple(
    (re.compile(form), words)
    for form, words in (
        (r"Expected `(?P<right>[^`]+)`, got `(?P<given>[^`]+)`", gettext_noop("expected %(right)s, got %(given)s")),
        (r"Expected `(?P<right>[^`]+)` (?P<bound>[<>]=? .+)", gettext_noop("expected %(right)s %(bound)s")),
        (r"Expected `array` of length <= (?P<most>.+)", gettext_noop("expected array of length <= %(most)s")),
        (r"Object contains unknown field `(?P<name>.*)`", gettext_noop("object contains unknown field %(name)s")),
        (r"Object missing required field `(?P<name>.*)`", gettext_noop("object missing required field %(name)s")),
    )
)
