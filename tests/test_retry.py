"""When a failed delivery is tried again."""

import pytest

from routing.retry import stretched_s, wait_s

WAITS_S = (5, 300, 1800)


@pytest.mark.parametrize(("attempts", "wait"), [(1, 5), (2, 300), (3, 1800)])
def test_after_each_failure_the_wait_is_that_of_the_schedule(attempts, wait):
    assert wait_s(attempts, waits_s=WAITS_S, jitter=0.2, chance=0.5) == wait


@pytest.mark.parametrize(("chance", "wait"), [(0, 240), (1, 360)])
def test_the_jitter_goes_either_way(chance, wait):
    assert wait_s(2, waits_s=WAITS_S, jitter=0.2, chance=chance) == pytest.approx(wait)


@pytest.mark.parametrize("attempts", [4, 5, 1000])
def test_after_the_last_wait_it_is_given_up(attempts):
    assert wait_s(attempts, waits_s=WAITS_S, jitter=0.2, chance=0.5) is None


@pytest.mark.parametrize(
    ("asked", "wait"), [(None, 100), (0, 100), (99, 100), (150, 150), (200, 200), (1e9, 200), (float("inf"), 200)]
)
def test_a_receiver_lengthens_a_wait_by_no_more_than_as_much_again(asked, wait):
    assert stretched_s(100, asked) == wait
