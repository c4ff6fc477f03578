"""What obeys every limit at two ticks, and breaks one between them."""

import numpy as np
import pytest
from arms import TICK_S, pose_arm, pose_limits, widowx_arm, widowx_limits
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from stvla_ros.control.safety.between_ticks import PARTS, Steps
from stvla_ros.control.safety.motion_check import MotionCheck
from stvla_ros.control.safety.rules import MotionRefused, MotionRules
from stvla_ros.control.safety.states import State

seeds = st.integers(0, 2**32 - 1)
RULES = MotionRules(widowx_arm(), widowx_limits(forbidden={}), TICK_S)


def drawn(seed: int, count: int = 6) -> list[State]:
    random = np.random.default_rng(seed)
    positions = np.cumsum(random.normal(0.0, 0.02, (count, 6)), axis=0)
    return [State(each, random.normal(0.0, 1.0, 6), np.zeros(6)) for each in positions]


def cubic(states: list[State], step: int, parts: int) -> np.ndarray:
    """(parts + 1, n) positions along a step."""
    before, after = states[step : step + 2]
    way = CubicHermiteSpline([0.0, TICK_S], [before.position, after.position], [before.velocity, after.velocity])
    return way(TICK_S * np.arange(parts + 1) / parts)


@examples(quick=30)
@given(seeds)
def test_a_step_is_divided_along_the_cubic_and_bent_no_more_than_its_bound(seed: int) -> None:
    states = drawn(seed)
    steps = Steps([states[:4], states[4:]], TICK_S)
    assert steps.follows.tolist() == [0, 1, 2, 4]
    for number, step in enumerate(steps.follows):
        assert steps.divided(np.array([number]))[0] == pytest.approx(cubic(states, step, PARTS), abs=1e-12)
        fine = cubic(states, step, 32)
        straight = fine[0] + np.arange(33)[:, None] / 32 * (fine[-1] - fine[0])
        assert (np.abs(fine - straight).max(axis=0) <= steps.bends()[number] + 1e-12).all()


@examples(quick=30)
@given(seeds)
def test_no_corner_comes_farther_than_the_levers_tell_and_the_tool_turns_no_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    position = random.uniform(RULES.lower, RULES.upper)
    change = random.normal(0.0, 1e-3, 6) * (random.random(6) < 0.4)
    poses = RULES.arm.body_poses(np.stack([position, position + change]))
    ways = np.linalg.norm(np.diff(RULES.body.corners(poses), axis=0), axis=-1)
    assert ways.max() <= RULES.levers.ways @ np.abs(change) + 1e-12
    assert (RULES.levers.turns >= 1.0).all()


def there_and_back(position: list[float], axis: int, rate: float = 0.05) -> list[State]:
    """The same position at two ticks, and a quarter of a millimetre farther between them."""
    at, rates = np.array(position), rate * np.eye(6)[axis]
    return [State(at, rates, np.zeros(6)), State(at, -rates, np.zeros(6))]


@pytest.mark.parametrize(
    ("refused", "position", "axis", "sign", "in_workspace"),
    [
        ("joint limit: x", [0.99, 0.0, 0.4, 0.0, 0.0, 0.0], 0, 1.0, False),
        ("workspace: the tool", [0.5, 0.3, 0.4, 0.0, 0.0, 0.0], 1, 1.0, True),
        ("workspace: tool would leave the room", [0.5, 0.29, 0.4, 0.0, 0.0, 0.0], 1, 1.0, True),
        ("table: tool", [0.5, 0.0, 0.05, 0.0, 0.0, 0.0], 2, -1.0, False),
        ("forbidden box post: tool", [0.5499, 0.05, 0.2, 0.0, 0.0, 0.0], 0, 1.0, True),
    ],
)
def test_no_place_is_reached_between_two_ticks_that_must_not_be_reached_at_one(
    refused: str, position: list[float], axis: int, sign: float, in_workspace: bool
) -> None:
    allowance = 0.04 if "room" in refused else 0.1
    rules = MotionRules(pose_arm(), pose_limits(workspace_allowance=allowance), TICK_S)
    away = MotionCheck(rules, in_workspace).check([there_and_back(position, axis, -0.05 * sign)])
    assert away <= 1.0
    with pytest.raises(MotionRefused, match=refused):
        MotionCheck(rules, in_workspace).check([there_and_back(position, axis, 0.05 * sign)])


@pytest.mark.parametrize(("axis", "limit", "jerk"), [(0, 0.35, 200.0), (5, 2.0, 1000.0)])
def test_a_speed_holds_where_it_is_greatest_not_on_the_average_of_a_tick(axis: int, limit: float, jerk: float) -> None:
    rules = MotionRules(pose_arm(), pose_limits(), TICK_S)

    def share(fastest: float) -> float:
        """Of a way that is fastest at a tick, with the greatest jerk before and after."""
        time, at = TICK_S * np.array([-1.0, 0.0, 1.0]), np.array([0.5, -0.2, 0.2, 0.0, 0.0, 0.0])
        ways, rates = fastest * time - jerk * time**3 / 6.0, fastest - jerk * time**2 / 2.0
        unit = np.eye(6)[axis]
        return MotionCheck(rules, True).check(
            [[State(at + way * unit, rate * unit, np.zeros(6)) for way, rate in zip(ways, rates)]]
        )

    assert limit * 1.012 - jerk * TICK_S**2 / 6.0 < 0.98 * limit
    assert share(0.97 * limit) <= 1.0 < share(1.012 * limit)
