"""What the planner refuses although the motion itself obeys the limits: its stops, and what lies between two ticks."""

import dataclasses

import numpy as np
import pytest
from arms import READY, TICK_S, pose_arm, pose_limits, widowx_arm, widowx_limits

from stvla_ros.control.safety.limits import Box
from stvla_ros.control.safety.motion import Motion, MotionPlanner, MotionRefused, State

EVERYWHERE = Box((-4.0, -4.0, -4.0), (4.0, 4.0, 4.0))
# Braked at once, the joints lead the tool 5 mm lower than this motion does.
MOVING = State(READY.copy(), np.array([-0.294, -0.197, -0.009, 0.0, 0.0, 0.0]), np.zeros(6))
GOAL = READY + [-0.014, 0.161, -0.163, 0.0, 0.0, 0.0]


def plan(**limits) -> Motion:
    limits = widowx_limits(**{"workspace": EVERYWHERE, "forbidden": {}, **limits})
    return MotionPlanner(widowx_arm(), limits, TICK_S).move(MOVING, GOAL)


def lowest(states: tuple[State, ...]) -> float:
    return min(widowx_arm().tool_pose(state.position)[2, 3] for state in states)


@pytest.fixture(scope="module")
def floor() -> float:
    """Half-way between the lowest point of the motion and that of its stops, metres."""
    motion = plan()
    motions, stops = lowest(motion.states), lowest(tuple(state for stop in motion.stops for state in stop.states))
    assert motions - stops > 0.004
    return (motions + stops) / 2.0


def test_a_motion_whose_stop_would_leave_the_workspace_is_refused(floor: float) -> None:
    assert plan(workspace=Box((-4.0, -4.0, floor - 0.01), (4.0, 4.0, 4.0))).states
    with pytest.raises(MotionRefused, match="workspace: the tool would leave it"):
        plan(workspace=Box((-4.0, -4.0, floor), (4.0, 4.0, 4.0)))


def test_a_motion_whose_stop_would_enter_a_forbidden_box_is_refused(floor: float) -> None:
    clearance = widowx_limits().tool_speed * TICK_S / 2.0

    def table(top: float) -> dict[str, Box]:
        return {"table": Box((-9.0, -9.0, -9.0), (9.0, 9.0, top - clearance))}

    assert plan(forbidden=table(floor - 0.01)).states
    with pytest.raises(MotionRefused, match="forbidden box table"):
        plan(forbidden=table(floor))


@pytest.mark.parametrize("part", [0.6, 1.4])
def test_a_box_is_kept_away_from_by_half_a_ticks_way(part: float) -> None:
    limits = dataclasses.replace(pose_limits(), forbidden={"post": Box((0.6, -0.1, 0.0), (0.7, 0.1, 0.4))})
    planner = MotionPlanner(pose_arm(), limits, TICK_S)
    gap = part * limits.tool_speed * TICK_S / 2.0
    start, goal = np.array([0.57, 0.0, 0.2, 0.0, 0.0, 0.0]), np.array([0.6 - gap, 0.0, 0.2, 0.0, 0.0, 0.0])
    if part > 1.0:
        assert planner.move(State.at_rest(start), goal).states[-1].position == pytest.approx(goal)
    else:
        with pytest.raises(MotionRefused, match="forbidden box post"):
            planner.move(State.at_rest(start), goal)
