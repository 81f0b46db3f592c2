"""The capacity model, against a simulation of the same queues and what is known of them."""

import math
from dataclasses import replace

import pytest

from benchmarks.capacity import Cell, Costs, Load, plan, stations
from benchmarks.queueing import Station, mean_wait_s, simulate


def test_one_server_waits_as_the_formula_says():
    assert mean_wait_s(0.8, 1, 1, 1.0) == pytest.approx(0.8 / 0.2)
    assert mean_wait_s(1.0, 1, 1, 1.0) == math.inf


@pytest.mark.parametrize(("servers", "copies", "busy"), [(1, 1, 0.7), (4, 1, 0.7), (4, 10, 0.5), (3, 2.5, 0.6)])
def test_the_simulation_waits_as_long_as_predicted(servers, copies, busy):
    arrivals_s = busy * servers / copies
    (found,) = simulate(arrivals_s, [Station("s", servers, 1.0, copies)], events=int(60_000 / copies), seed=7)
    assert found.predicted_busy == pytest.approx(busy)
    assert found.busy == pytest.approx(busy, rel=0.03)
    assert found.wait_s == pytest.approx(found.predicted_wait_s, rel=0.15)


@pytest.mark.parametrize("fan_out", [1, 10])
def test_a_planned_cell_is_busy_for_half_its_time_at_most_and_the_simulation_agrees(fan_out):
    load = Load(events_s=2_000, fan_out=fan_out, days=1)
    planned = plan(load)
    for found in simulate(planned.events_s, stations(load, planned), events=10_000, seed=7):
        assert found.predicted_busy <= 0.5
        assert found.busy == pytest.approx(found.predicted_busy, rel=0.05)


def test_cells_are_as_many_as_disks_or_cores_ask_for():
    load, costs = Load(events_s=1_000, fan_out=2, attempts=1, days=10), Costs()
    a_day = 1_000 * 86_400 * (750 + costs.event_bytes + 2 * (costs.delivery_bytes + costs.attempt_bytes))
    assert plan(load, Cell(disk_bytes=a_day * 10 * 1.5 / 4)).cells == 4
    assert plan(replace(load, events_s=4_000), Cell(cores=1, disk_bytes=1e18)).cells == math.ceil(
        4_000 * (costs.record_s + 2 * costs.owe_s + 2 * costs.settle_s) / 0.5
    )


def test_slow_receivers_ask_for_more_workers():
    quick, slow = (plan(Load(events_s=500, fan_out=1, days=1, receiver_s=taken)).workers for taken in (0.05, 2.0))
    assert (quick, slow) == (1, math.ceil(500 * 1.05 * 2.0 / 128 / 0.5))
