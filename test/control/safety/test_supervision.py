"""What is believed of a measured position, and what is not."""

import numpy as np
import pytest
from arms import widowx_limits
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.supervision import JITTER_S, MotionWatch, PlaceWatch, RestWatch

LIMITS = widowx_limits()
NAMES = tuple(LIMITS.joints)
FASTEST = LIMITS.measured_speed * np.array([joint.velocity for joint in LIMITS.joints.values()])
REST, MOST = np.zeros(len(NAMES)), LIMITS.measured_noise + FASTEST * JITTER_S

gaps = st.sampled_from([0.0, 0.001, 0.01, 0.01, 0.02, 0.1, 0.24])
# A way of each joint between two measurements, as shares of the farthest possible.
ways = st.tuples(*[st.floats(-1.0, 1.0)] * len(NAMES))
travels = st.lists(st.tuples(gaps, ways), min_size=1, max_size=30)
jumps = st.tuples(st.integers(0, len(NAMES) - 1), st.sampled_from([-1.0, 1.0]), st.floats(1.01, 30.0))


def off(joint: int, by: float) -> np.ndarray:
    return np.eye(len(NAMES))[joint] * by


def travelled(watch: MotionWatch, travel: list) -> tuple[np.ndarray, float, list[str]]:
    position, now, doubts = REST, 0.0, [watch.take(REST, 0.0)]
    for gap, way in travel:
        position, now = position + np.array(way) * FASTEST * gap, now + gap
        doubts.append(watch.take(position, now))
    return position, now, doubts


@examples(quick=100)
@given(travels, st.lists(st.floats(0.0, JITTER_S), min_size=31, max_size=31))
def test_what_an_arm_can_do_is_never_doubted_even_when_stamps_are_late(travel: list, lateness: list[float]) -> None:
    assert set(travelled(MotionWatch(NAMES, LIMITS), travel)[2]) == {""}
    watch, position, now, stamp = MotionWatch(NAMES, LIMITS), REST, 0.0, 0.0
    for (gap, way), late in zip(travel, lateness):
        position, now = position + np.array(way) * FASTEST * gap, now + gap
        stamp = max(stamp, now + late)  # one that was overtaken does not count
        assert watch.take(position, stamp) == ""


@examples(quick=100)
@given(travels, jumps, gaps)
def test_one_jump_is_doubted_at_once_whatever_came_before(travel: list, jump: tuple, gap: float) -> None:
    joint, direction, farther = jump
    watch = MotionWatch(NAMES, LIMITS)
    position, now, _ = travelled(watch, travel)
    beyond = farther * (FASTEST[joint] * gap + MOST[joint])
    assert NAMES[joint] in watch.take(position + off(joint, direction * beyond), now + gap)


def test_a_stamp_that_stands_still_hides_no_jump() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    watch.take(REST, 1.0)
    assert "waist moved 0.6 rad within 0 s" in watch.take(off(0, 0.6), 1.0)


def test_a_gap_is_no_jump() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    watch.take(REST, 1.0)
    assert watch.take(off(0, 0.6), 1.22) == ""


@examples(quick=100)
@given(st.floats(0.04, 3.0), st.sampled_from([0.001, 0.002, 0.005, 0.01]))
def test_two_sources_that_contradict_each_other_are_found_out(apart: float, period: float) -> None:
    watch = MotionWatch(NAMES, LIMITS)
    doubts = [watch.take(off(1, apart * (number % 2)), number * period) for number in range(round(0.3 / period))]
    assert any("two sources that contradict each other" in doubt for doubt in doubts)


def test_a_source_that_always_comes_too_late_to_count_still_contradicts() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    watch.take(REST, 1.0)
    assert watch.overtaken(off(2, 0.01), 0.005) == ""
    assert "elbow" in watch.overtaken(off(2, 0.6), 0.005)


def test_noise_of_the_encoders_is_never_doubted() -> None:
    random = np.random.default_rng(0)
    watch = MotionWatch(NAMES, LIMITS)
    for number in range(3000):
        # Two of the servos' 4096 steps a turn, at 500 Hz.
        assert watch.take(random.integers(-1, 2, len(NAMES)) * 2.0 * np.pi / 4096.0, number * 0.002) == ""


def test_a_joint_that_runs_faster_than_the_factor_is_doubted() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    speed = 1.5 * FASTEST[0]
    doubts = [watch.take(off(0, speed * number * 0.01), number * 0.01) for number in range(20)]
    assert any("waist" in doubt for doubt in doubts)


def test_after_a_source_that_erred_for_long_the_next_good_measurement_is_believed() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    for number in range(1000):
        watch.take(off(0, 2.0 * (number % 2)), number * 0.01)
    watch.take(REST, 10.0)
    assert watch.take(REST, 10.01) == ""


def test_a_new_beginning_forgets_where_the_arm_was() -> None:
    watch = MotionWatch(NAMES, LIMITS)
    watch.take(REST, 1.0)
    watch.forget()
    assert watch.take(off(0, 2.0), 1.0) == ""


# --- where the tool is ------------------------------------------------------------------------------------------------

INSIDE, OUTSIDE = np.array([0.3, 0.0, 0.15]), np.array([0.3, 0.0, 0.4])  # 0.1 m above the workspace


def test_a_tool_outside_the_workspace_that_was_not_sent_there_is_doubted() -> None:
    watch = PlaceWatch(LIMITS)
    watch.asked(INSIDE, 0.0)
    assert watch.take(INSIDE) == ""
    assert watch.take(OUTSIDE) == (
        "the tool is 0.1 m outside the workspace, expected at most 0.03 m: nothing was sent there"
    )


def test_a_tool_that_was_sent_outside_is_believed_and_may_lag_behind_on_its_way_back() -> None:
    watch = PlaceWatch(LIMITS)
    watch.asked(OUTSIDE, 0.0)
    assert watch.take(OUTSIDE) == ""
    for tick in range(50):
        watch.asked(INSIDE, 0.02 * (tick + 1))
    assert watch.take(OUTSIDE) == ""
    watch.asked(INSIDE, 1.02)
    assert "outside the workspace" in watch.take(OUTSIDE)


@examples(quick=100)
@given(st.lists(st.tuples(*[st.floats(-1.0, 1.0)] * 3), min_size=1, max_size=20))
def test_a_tool_that_follows_is_never_doubted(ways: list) -> None:
    watch = PlaceWatch(LIMITS)
    for number, way in enumerate(ways):
        watch.asked(INSIDE + way, 0.02 * number)
        # Behind its setpoint, and sagging.
        assert watch.take(INSIDE + ways[max(0, number - 10)] + [0.0, 0.0, -0.02]) == ""


# --- rest -------------------------------------------------------------------------------------------------------------


def seen(positions: list[float], period: float = 0.01) -> str:
    """The waist's positions."""
    watch = RestWatch(NAMES, LIMITS)
    for number, position in enumerate(positions):
        watch.take(off(0, position), number * period)
    return watch.motion()


def test_an_arm_is_at_rest_when_it_was_for_long_enough() -> None:
    assert seen([0.7] * 20) == "expected 0.2 s of measurements at rest, got 0.19 s so far"
    assert seen([0.7] * 22) == ""


def test_a_swinging_arm_is_not_and_its_joint_is_named() -> None:
    assert seen([1.2 * 0.01 * number for number in range(30)]) == (
        "joint waist moves at 1.2 rad/s, expected less than 0.05"
    )


def test_two_sources_that_contradict_each_other_are_no_rest() -> None:
    assert "waist moves at 3" in seen([0.6 * (number % 2) for number in range(40)])


def test_two_measurements_of_a_swing_that_happen_to_agree_are_no_rest() -> None:
    assert "so far" in seen([0.1, 0.1], period=0.22)


def test_rest_counts_anew_after_a_gap() -> None:
    watch = RestWatch(NAMES, LIMITS)
    for at in (0.0, 0.1, 0.2, 0.6, 0.7):
        watch.take(REST, at)
    assert "got 0.1 s so far" in watch.motion()


@examples(quick=100)
@given(st.floats(0.06, 5.0), st.floats(0.0, 6.3), st.sampled_from([0.01, 0.02, 0.05, 0.1]))
def test_steady_motion_is_never_rest(speed: float, begun: float, period: float) -> None:
    assert seen([begun + speed * number * period for number in range(40)], period)


@pytest.mark.parametrize("rate", [10.0, 100.0, 500.0])
def test_an_arm_at_rest_with_noisy_encoders_is_at_rest(rate: float) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(-1, 2, 400) * 2.0 * np.pi / 4096.0
    assert seen(list(noise), 1.0 / rate) == ""
