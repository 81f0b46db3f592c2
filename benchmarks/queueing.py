"""Queues in a row: what queueing theory says of them, and a simulation of the same that knows nothing of the theory.

Events arrive by chance (a Poisson process), each server works for an exponentially distributed time, whoever came first
is next, and stations may share servers. An event may become several jobs at a station, all at once.
"""

import heapq
import itertools
import math
import random
from collections import defaultdict, deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Station:
    name: str
    servers: int
    service_s: float  # mean
    copies: float = 1.0  # that become of each job that arrives here
    shares: str = ""  # the servers, with all stations that say the same

    @property
    def pool(self) -> str:
        return self.shares or self.name


@dataclass(frozen=True)
class Found:
    """A group of servers: of its time how much is busy, and for how long a job waits."""

    name: str
    predicted_busy: float
    busy: float
    predicted_wait_s: float
    wait_s: float


def mean_wait_s(arrivals_s: float, copies: float, servers: int, service_s: float) -> float:
    """Return how long a job waits on average in M^X/M/c, where each arrival is `copies` jobs at once.

    Between the states of n - 1 and n jobs as many arrivals cross as jobs end, which gives the probability of each state
    from those below it. Infinite where the servers do not keep up.
    """
    if arrivals_s * copies * service_s >= servers:
        return math.inf
    whole, part = divmod(copies, 1)
    most = math.ceil(copies)
    weights = [1.0]
    total = waiting = 0.0
    while weights[-1] > 1e-12 * total or len(weights) <= servers + most:
        jobs = len(weights)
        crossing = sum(weights[max(0, jobs - int(whole)) :])
        if part and jobs >= most:
            crossing += part * weights[jobs - most]
        weights.append(arrivals_s * crossing * service_s / min(jobs, servers))
        total += weights[-1]
        waiting += weights[-1] * max(0, jobs - servers)
    return waiting / (total + weights[0]) / (arrivals_s * copies)


def predict(arrivals_s: float, stations: list[Station]) -> dict[str, tuple[float, float]]:
    """Return, by group of servers, how busy they are and the mean wait in seconds; infinite where they do not keep up.

    A group that several stations share is taken for one with the mean of their services, its waits times (1 + Cs2) / 2
    of their mixture (Allen and Cunneen), and arrivals by chance. Behind a station that makes several jobs of one they
    come in bursts, and the wait is longer than that.
    """
    visits = defaultdict(list)
    reaching = arrivals_s
    for station in stations:
        visits[station.pool].append((station, reaching))
        reaching *= station.copies
    return {pool: _predicted(there) for pool, there in visits.items()}


def _predicted(visits: list[tuple[Station, float]]) -> tuple[float, float]:
    servers = visits[0][0].servers
    arrivals_s = sum(reaching for _, reaching in visits)
    rates = [(station, reaching * station.copies) for station, reaching in visits]
    jobs_s = sum(rate for _, rate in rates)
    mean = sum(rate * station.service_s for station, rate in rates) / jobs_s
    square = sum(rate * 2 * station.service_s**2 for station, rate in rates) / jobs_s
    wait = mean_wait_s(arrivals_s, jobs_s / arrivals_s, servers, mean)
    return jobs_s * mean / servers, wait * square / mean**2 / 2


def simulate(arrivals_s: float, stations: list[Station], *, events: int, seed: int) -> list[Found]:
    """Let so many events pass, and return what was seen beside what is predicted."""
    run = _Run(stations, random.Random(seed))
    run.pass_through(arrivals_s, events)
    predicted = predict(arrivals_s, stations)
    return [
        Found(
            name=pool,
            predicted_busy=busy,
            busy=run.worked_s[pool] / (run.servers[pool] * run.last_arrival_s),
            predicted_wait_s=wait,
            wait_s=run.waited_s[pool] / run.jobs[pool],
        )
        for pool, (busy, wait) in predicted.items()
    ]


class _Run:
    def __init__(self, stations: list[Station], chance: random.Random) -> None:
        self._stations, self._chance = stations, chance
        self.servers = {station.pool: station.servers for station in stations}
        self._free = dict(self.servers)
        self._queues: dict[str, deque[tuple[float, int]]] = {station.pool: deque() for station in stations}
        self.worked_s: dict[str, float] = defaultdict(float)
        self.waited_s: dict[str, float] = defaultdict(float)
        self.jobs: dict[str, int] = defaultdict(int)
        self.last_arrival_s = 0.0
        self._agenda: list[tuple[float, int, int]] = []  # when, a tie-break, the station that is done; -1: an arrival
        self._ties = itertools.count()

    def pass_through(self, arrivals_s: float, events: int) -> None:
        self._plan(self._chance.expovariate(arrivals_s), -1)
        left = events
        while self._agenda:
            now, _, place = heapq.heappop(self._agenda)
            if place < 0:
                left, self.last_arrival_s = left - 1, now
                if left:
                    self._plan(now + self._chance.expovariate(arrivals_s), -1)
            else:
                self._release(now, place)
            if place + 1 < len(self._stations):
                self._arrive(now, place + 1)

    def _plan(self, when: float, place: int) -> None:
        heapq.heappush(self._agenda, (when, next(self._ties), place))

    def _arrive(self, now: float, place: int) -> None:
        whole, part = divmod(self._stations[place].copies, 1)
        pool = self._stations[place].pool
        for _ in range(int(whole) + (self._chance.random() < part)):
            self._queues[pool].append((now, place))
        self._start(now, pool)

    def _release(self, now: float, place: int) -> None:
        pool = self._stations[place].pool
        self._free[pool] += 1
        self._start(now, pool)

    def _start(self, now: float, pool: str) -> None:
        while self._free[pool] and self._queues[pool]:
            since, place = self._queues[pool].popleft()
            worked = self._chance.expovariate(1 / self._stations[place].service_s)
            self._free[pool] -= 1
            self.worked_s[pool] += worked
            self.waited_s[pool] += now - since
            self.jobs[pool] += 1
            self._plan(now + worked, place)
