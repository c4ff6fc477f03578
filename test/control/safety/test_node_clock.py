"""The clock that observations are stamped by, when it jumps, stands still, or runs at another speed."""

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.node_clock import NodeClock

SECOND = 1_000_000_000
TICK = SECOND // 50


def faults(clock: NodeClock, times: list[tuple[float, float]]) -> list[str]:
    """What is said after looks at (clock, steady), seconds."""
    said = []
    for clock_s, steady_s in times:
        clock.look(round(clock_s * SECOND), round(steady_s * SECOND))
        said.append(clock.fault)
    return said


def ticks(seconds: float, rate: float = 1.0) -> list[tuple[float, float]]:
    return [(100.0 + rate * number / 50, number / 50) for number in range(round(50 * seconds))]


@pytest.mark.parametrize("own_time", [True, False])
@pytest.mark.parametrize("rate", [0.9, 1.0, 1.1])
def test_a_clock_that_runs_as_the_machines_or_is_being_set_is_good(own_time: bool, rate: float) -> None:
    assert not any(faults(NodeClock(own_time), ticks(10.0, rate)))


@pytest.mark.parametrize("jump", [60.0, 0.6, -0.6, -0.2, -60.0])
def test_a_jump_either_way_is_one_and_once(jump: float) -> None:
    clock = NodeClock(True)
    said = faults(
        clock, [*ticks(1.0), (101.0 + jump, 1.0), *((101.0 + jump + n / 50, 1.0 + n / 50) for n in range(1, 9))]
    )
    assert said[50].startswith("the clock jumped by ") and not any(said[:50] + said[51:])
    clock.look(10**12, 10**9)
    assert clock.jumped


def test_clocks_that_run_on_together_between_two_rare_looks_do_not_jump() -> None:
    assert not any(faults(NodeClock(True), [(now, now) for now in range(10)]))


@pytest.mark.parametrize("own_time", [True, False])
def test_a_clock_that_stands_still_is_noticed_tick_by_tick_and_until_it_runs(own_time: bool) -> None:
    said = faults(NodeClock(own_time), [(100.0, number / 50) for number in range(100)])
    first = next(number for number, each in enumerate(said) if each)
    assert first == 26 and all(each.startswith("the clock stands still") for each in said[first:])
    clock = NodeClock(True)
    faults(clock, [(100.0, number / 50) for number in range(100)])
    assert faults(clock, [(100.0 + number / 50, 2.0 + number / 50) for number in range(1, 20)]) == [""] * 19


def test_a_clock_that_goes_to_and_fro_stands_still() -> None:
    said = faults(NodeClock(True), [(100.0 + 0.05 * (number % 2), number / 50) for number in range(100)])
    assert said[-1].startswith("the clock stands still")


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_a_machines_clock_that_runs_at_another_speed_is_noticed_and_a_recordings_may(rate: float) -> None:
    said = faults(NodeClock(False), ticks(10.0, rate))
    assert said[-1] == f"the machine's clock runs at {rate:g} times its speed"
    first = next(number for number, each in enumerate(said) if each)
    assert 90 < first < 110 and all(said[first:])
    assert not any(faults(NodeClock(True), ticks(10.0, rate)))


def test_a_machines_clock_that_is_mended_is_good_again() -> None:
    clock = NodeClock(False)
    faults(clock, ticks(10.0, 2.0))
    said = faults(clock, [(120.0 + number / 50, 10.0 + number / 50) for number in range(500)])
    assert said[0] and not any(said[150:])


@examples(quick=100)
@given(
    rates=st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 10.0]), min_size=1, max_size=30),
    part=st.floats(0.0, 1.0),
    wait=st.integers(0, 20),
)
def test_no_observation_counts_as_younger_than_it_is(rates: list[float], part: float, wait: int) -> None:
    """A clock that changes its speed; an observation is stamped by it at some moment, and asked for later."""
    clock, now, steady, moments = NodeClock(True), 100 * SECOND, 0, []
    for rate in [*rates, *rates[:1] * wait]:
        clock.look(now, steady)
        moments.append((now, steady))
        now, steady = now + round(rate * TICK), steady + TICK
    stamp, made = moments[round(part * (len(moments) - 1))]
    taken = clock.taken_ns(stamp, now, steady)
    assert taken <= made, "younger than by the machine's clock"
    assert taken <= steady - (now - stamp), "younger than by its own"


def test_ages_are_those_of_the_machines_clock_when_the_other_stands() -> None:
    clock = NodeClock(True)
    faults(clock, [*ticks(1.0), *((100.98, 0.98 + number / 50) for number in range(1, 100))])
    assert clock.taken_ns(round(100.98 * SECOND), round(100.98 * SECOND), 3 * SECOND) == round(0.98 * SECOND)
    assert clock.taken_ns(round(100.5 * SECOND), round(100.98 * SECOND), 3 * SECOND) == pytest.approx(
        SECOND // 2, abs=2
    )


def test_between_two_looks_an_observation_was_made_between_them() -> None:
    clock = NodeClock(True)
    faults(clock, [(100.0, 0.0), (101.0, 1.0)])
    assert clock.taken_ns(round(100.25 * SECOND), 101 * SECOND, SECOND) == SECOND // 4


def test_an_observation_from_the_future_is_one_from_the_future() -> None:
    clock = NodeClock(True)
    faults(clock, ticks(1.0))
    assert clock.taken_ns(103 * SECOND, 101 * SECOND, SECOND) == 3 * SECOND


def test_after_a_step_back_stamps_of_the_time_before_are_as_old_as_the_clock_says() -> None:
    clock = NodeClock(True)
    faults(clock, [*ticks(1.0), (40.0, 1.0), (40.02, 1.02)])
    assert clock.taken_ns(round(39.0 * SECOND), round(40.02 * SECOND), round(1.02 * SECOND)) <= 0
