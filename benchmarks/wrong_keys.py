"""Whether the time of a refusal tells anything of a key: 100,000 wrong keys of several shapes, by turns."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from statistics import median
from time import perf_counter_ns

from django.db.models.functions import Now

from benchmarks.figures import Figure, at_most
from benchmarks.service import clear, new_workspace
from endpoints.auth import authenticate
from endpoints.errors import Unauthenticated
from endpoints.keys import checksum, new_key
from endpoints.models import ApiKey, Workspace

COUNT = 100_000
STEP = 1.05  # between the medians of any two shapes that reach the database


def run() -> Iterator[Figure]:
    print(f"\nwrong_keys: {COUNT:,} refusals by turns; what is no key by form or checksum is refused without a query")
    clear()
    workspace, _ = new_workspace()
    medians = measure(workspace, COUNT)
    for shape, microseconds in medians.items():
        yield Figure(name=shape, unit="us", measured=microseconds)
    asked = [value for shape, value in medians.items() if shape not in ("no checksum", "no key")]
    name = "the slowest that reaches the database, beside the quickest"
    yield Figure.of_rounds(name, "us", [(min(asked), max(asked))], [at_most(STEP)])


def measure(workspace: Workspace, count: int) -> dict[str, float]:
    """Return the median of each shape in microseconds."""
    made = shapes(workspace)
    took: dict[str, list[int]] = {shape: [] for shape in made}
    for _ in range(count // len(made)):
        for shape, make in made.items():
            key = make()
            begun = perf_counter_ns()
            with suppress(Unauthenticated):
                authenticate(key)
                raise AssertionError(f"A key that is {shape} was let in.")
            took[shape].append(perf_counter_ns() - begun)
    return {shape: median(times) / 1_000 for shape, times in took.items()}


def shapes(workspace: Workspace) -> dict[str, Callable[[], str]]:
    real, revoked, expired = (
        ApiKey.issue(workspace=workspace, name=name, scopes=["read"])[1] for name in ("real", "revoked", "expired")
    )
    ApiKey.objects.get(prefix=revoked[:14]).revoke()
    ApiKey.objects.filter(prefix=expired[:14]).update(expires_at=Now() - timedelta(days=1))
    return {
        "random": new_key,
        "10 characters right": lambda: _like(real, 10),
        "30 characters right": lambda: _like(real, 30),
        "all but one right": lambda: _like(real, 50),
        "revoked": lambda: revoked,
        "expired": lambda: expired,
        "no checksum": lambda: new_key()[:-6] + "000000",
        "no key": lambda: "x" * len(real),
    }


def _like(real: str, right: int) -> str:
    """Return a wrong key whose first characters are those of `real`."""
    while (body := real[:right] + new_key()[right:-6]) == real[:-6]:
        pass
    return body + checksum(body)
