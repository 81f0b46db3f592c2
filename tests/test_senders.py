"""Who gets the threads: time is passed in, and receivers answer when the test lets them."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.conf import settings

from routing import senders
from routing.senders import FIRST_WIDTH, HANGS_S, HURRY_S, PATIENCE_S, WIDTH, Senders

THREADS = 4
ROOM = 100  # of a quick endpoint
SOON_S = 5  # for what happens at once
NEVER_S = 0.5  # for what must not happen


@dataclass(eq=False)
class Sent:
    """As much of a job as the senders look at, and how its receiver takes it."""

    target: SimpleNamespace
    asked: bool
    answer: threading.Event


class Receivers:
    """All that is sent to, with the senders: `now` is their clock."""

    def __init__(self):
        self.now = 0.0
        self.senders = Senders(THREADS, self._send, clock=lambda: self.now)
        self.started, self.ended = [], []
        self._changed = threading.Condition()
        self._jobs = []

    def put(self, endpoint_id, count=1, *, answers=True, asked=True):
        jobs = [Sent(SimpleNamespace(endpoint_id=endpoint_id), asked, threading.Event()) for _ in range(count)]
        self._jobs += jobs
        if answers:
            self.answer(jobs)
        self.senders.put(jobs)
        return jobs

    def answer(self, jobs):
        for job in jobs:
            job.answer.set()

    def starts(self, job, within_s=SOON_S):
        return self._comes(lambda: job in self.started, within_s)

    def ends(self, job, within_s=SOON_S):
        return self._comes(lambda: job in self.ended, within_s)

    def passes(self, seconds):
        """Let time pass, and the senders be looked after."""
        self.now += seconds
        return self.senders.look_after()

    def quick(self):
        """Return an endpoint that has answered at once."""
        endpoint_id = uuid4()
        (job,) = self.put(endpoint_id)
        assert self.ends(job)
        assert self._comes(lambda: self.room(endpoint_id) == ROOM, SOON_S)
        return endpoint_id

    def room(self, endpoint_id):
        return self.senders.rooms(quick=ROOM)[1][endpoint_id]

    def stop(self):
        self.answer(self._jobs)
        self.senders.stop()
        self.senders.join()

    def _send(self, job):
        self._note(self.started, job)
        job.answer.wait()
        self._note(self.ended, job)
        return job.asked

    def _note(self, jobs, job):
        with self._changed:
            jobs.append(job)
            self._changed.notify_all()

    def _comes(self, condition, within_s):
        end = time.monotonic() + within_s
        with self._changed:
            while not condition() and time.monotonic() < end:
                self._changed.wait(0.01)  # what follows an answer is told by nobody
            return condition()


@pytest.fixture
def receivers():
    receivers = Receivers()
    yield receivers
    receivers.stop()


def test_a_hang_is_let_go_of_after_a_moment_and_others_have_its_threads(receivers):
    other, hanging = receivers.quick(), receivers.quick()
    for job in receivers.put(hanging, THREADS, answers=False):
        assert receivers.starts(job)

    (job,) = receivers.put(other)
    assert not receivers.starts(job, NEVER_S)
    receivers.passes(HURRY_S + 0.01)

    assert receivers.starts(job)


def test_nobody_is_hurried_while_threads_come_free(receivers):
    one, other = receivers.quick(), receivers.quick()
    answers, *waits = receivers.put(one, THREADS, answers=False)
    assert all(map(receivers.starts, [answers, *waits]))
    more = receivers.put(other, 2, answers=False)
    receivers.now += HURRY_S + 0.01
    receivers.answer([answers])
    assert receivers.starts(more[0])

    receivers.passes(HURRY_S - 0.01)

    assert not receivers.starts(more[1], NEVER_S)
    assert receivers.room(one) == ROOM - len(waits)


def test_a_hang_that_nobody_waits_for_is_let_go_of_in_the_end(receivers):
    hanging = receivers.quick()
    (job,) = receivers.put(hanging, answers=False)
    assert receivers.starts(job)

    receivers.passes(PATIENCE_S - 0.01)
    assert receivers.room(hanging) == ROOM - 1
    receivers.passes(0.02)

    assert receivers.room(hanging) == 2 * FIRST_WIDTH - 1


def test_an_endpoint_that_hangs_now_and_then_keeps_no_more_threads_than_a_slow_one(receivers):
    other, moody = receivers.quick(), receivers.quick()
    for _ in range(2 * senders.SLOW_THREADS):
        (hangs,) = receivers.put(moody, answers=False)
        if not receivers.starts(hangs, NEVER_S):
            break
        receivers.passes(PATIENCE_S - 0.01)
        answers = receivers.put(moody, answers=False)
        if not receivers.starts(answers[0], NEVER_S):
            break
        receivers.passes(0.02)
        receivers.answer(answers)

    held = len(receivers.started) - len(receivers.ended)
    (job,) = receivers.put(other)

    assert held <= WIDTH + THREADS
    assert receivers.ends(job)


def test_an_endpoint_that_hangs_gets_no_more_of_the_quick_threads_though_the_others_are_taken(receivers, monkeypatch):
    monkeypatch.setattr(senders, "SLOW_THREADS", 1)
    receivers.senders._limits[False] = 1
    other, hanging = receivers.quick(), receivers.quick()
    for endpoint_id in (uuid4(), hanging):
        (job,) = receivers.put(endpoint_id, answers=False)
        assert receivers.starts(job)
    receivers.passes(PATIENCE_S + 0.01)

    more = receivers.put(hanging, THREADS, answers=False)
    assert not receivers.starts(more[0], NEVER_S)
    (job,) = receivers.put(other)

    assert receivers.ends(job)


def test_what_was_not_asked_says_nothing_of_how_quick_an_endpoint_is(receivers):
    hanging = uuid4()
    for job in receivers.put(hanging, FIRST_WIDTH - 1, answers=False):
        assert receivers.starts(job)
    receivers.passes(HANGS_S + 0.01)

    (job,) = receivers.put(hanging, asked=False)
    assert receivers.ends(job)
    (after,) = receivers.put(hanging)
    assert receivers.starts(after)  # so that what came of the one before has been judged

    assert receivers.room(hanging) < ROOM / 2


def test_what_waits_behind_a_hang_is_given_back(receivers):
    hanging = uuid4()
    first = receivers.put(hanging, FIRST_WIDTH, answers=False)
    waiting = receivers.put(hanging, FIRST_WIDTH + 3)
    assert all(map(receivers.starts, first))

    given_back = receivers.passes(HANGS_S + 0.01)

    assert [waiting.index(job) for job in given_back] == [4, 3, 2]
    assert receivers.room(hanging) == 0


def test_a_slow_endpoint_gets_more_threads_with_each_answer(receivers):
    slow = uuid4()
    jobs = receivers.put(slow, WIDTH)
    assert all(map(receivers.ends, jobs))
    receivers.senders._lines[slow].quick = False

    hanging = receivers.put(slow, WIDTH + 1, answers=False)

    assert sum(receivers.starts(job, NEVER_S) for job in hanging) <= WIDTH


def test_quick_endpoints_take_turns(receivers):
    one, other = receivers.quick(), receivers.quick()
    jobs = receivers.put(one, THREADS, answers=False)
    assert all(map(receivers.starts, jobs))
    receivers.put(one, 50)
    (job,) = receivers.put(other)

    receivers.answer(jobs)

    assert receivers.ends(job)
    assert receivers.started.index(job) < 2 + THREADS + THREADS


def test_no_more_is_asked_for_than_the_threads_of_the_slow_can_send(receivers):
    for _ in range(senders.SLOW_THREADS // FIRST_WIDTH):
        receivers.put(uuid4(), 2 * FIRST_WIDTH, answers=False)

    newcomers, rooms = receivers.senders.rooms(quick=ROOM)

    assert (newcomers, set(rooms.values())) == (0, {-2 * FIRST_WIDTH})


def test_what_was_not_started_is_given_back_at_the_end(receivers):
    hanging = uuid4()
    jobs = receivers.put(hanging, FIRST_WIDTH + 3, answers=False)
    assert all(map(receivers.starts, jobs[:FIRST_WIDTH]))

    assert receivers.senders.stop() == jobs[FIRST_WIDTH:]


BREAKS = """
import threading
from types import SimpleNamespace

import django

django.setup()
from routing.senders import Senders

sends = threading.Event()
Senders(1, lambda job: sends.set()).put([SimpleNamespace(target=SimpleNamespace(endpoint_id=1))])
sends.wait()
raise SystemExit(7)
"""


def test_a_process_that_breaks_does_not_wait_for_its_threads():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "event_service.settings"}

    ended = subprocess.run([sys.executable, "-c", BREAKS], cwd=settings.BASE_DIR, env=environment, timeout=60)

    assert ended.returncode == 7
