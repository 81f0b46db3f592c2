"""When a failed delivery is tried again."""

from datetime import timedelta

import pytest

from routing.retry import SCHEDULE, wait_after

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LATER = [5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]


def test_the_first_attempt_is_made_at_once():
    assert wait_after(0, chance=1) == timedelta(0)


def test_after_each_failure_the_wait_is_that_of_the_schedule():
    assert [wait_after(attempts, chance=0.5) for attempts in range(1, 10)] == LATER


@pytest.mark.parametrize("attempts", range(1, 10))
def test_the_jitter_is_a_fifth_either_way(attempts):
    wait = LATER[attempts - 1]

    assert (wait_after(attempts, chance=0), wait_after(attempts, chance=1)) == (wait * 0.8, wait * 1.2)


@pytest.mark.parametrize("attempts", [10, 11, 1000])
def test_after_the_tenth_failure_it_is_given_up(attempts):
    assert len(SCHEDULE) == 10
    assert wait_after(attempts, chance=0.5) is None
