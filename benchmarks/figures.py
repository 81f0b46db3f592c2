"""What benchmarks find, as values: figures beside their ceilings or baselines, and what they cost by process."""

import operator
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

_HOLDS = {">=": operator.ge, "<=": operator.le}


class Target(msgspec.Struct, frozen=True):
    """A limit of the figure itself, of its ratio to the baseline, or of what it has more than the baseline."""

    of: Literal["measured", "ratio", "more"]
    holds: Literal[">=", "<="]
    limit: float


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured. `ratio` is the median of the rounds' ratios; of several targets any one will do."""

    name: str
    unit: str
    measured: float
    baseline: float | None = None
    ratio: float | None = None
    targets: tuple[Target, ...] = ()

    @classmethod
    def of_rounds(
        cls, name: str, unit: str, rounds: Sequence[tuple[float, float]], targets: Sequence[Target] = ()
    ) -> "Figure":
        """Return the medians of rounds of (baseline, measured), and the median of their ratios."""
        baseline, measured = (median(column) for column in zip(*rounds, strict=True))
        ratio = median(measured / baseline for baseline, measured in rounds)
        return cls(name=name, unit=unit, measured=measured, baseline=baseline, ratio=ratio, targets=tuple(targets))

    @property
    def met(self) -> bool | None:
        """None where there is no target."""
        return any(_HOLDS[each.holds](self._value(each), each.limit) for each in self.targets) if self.targets else None

    @property
    def reached(self) -> float | None:
        """How much of the nearest target is reached: 1 is just met, 2 twice as good, 0.5 half of it."""
        return max((self._reached(each) for each in self.targets), default=None)

    def _value(self, target: Target) -> float:
        if target.of == "measured":
            return self.measured
        value = self.ratio if target.of == "ratio" else self._more
        if value is None:
            raise ValueError(f"{self.name!r} has a target for its {target.of}, but nothing to compare with.")
        return value

    @property
    def _more(self) -> float | None:
        return None if self.baseline is None else self.measured - self.baseline

    def _reached(self, target: Target) -> float:
        value, limit = max(self._value(target), 1e-9), max(target.limit, 1e-9)
        return value / limit if target.holds == ">=" else limit / value


class Spent(msgspec.Struct, frozen=True):
    cpu_s: float
    peak_mib: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds for each 1,000 of `unit`, and the most memory at once, by kind of process."""

    name: str
    unit: str
    by: dict[str, Spent]


Found = Figure | Cost


def at_least(limit: float, of: Literal["measured", "ratio", "more"] = "ratio") -> Target:
    return Target(of, ">=", limit)


def at_most(limit: float, of: Literal["measured", "ratio", "more"] = "ratio") -> Target:
    return Target(of, "<=", limit)
