"""What the planner refuses although the motion itself obeys the limits: its stops, and what lies between two ticks."""

from collections.abc import Callable

import numpy as np
import pytest
from arms import READY, TICK_S, pose_arm, pose_limits, widowx_arm, widowx_limits

from stvla_ros.control.safety.body import Body
from stvla_ros.control.safety.limits import Box
from stvla_ros.control.safety.motion import Motion, MotionPlanner
from stvla_ros.control.safety.rules import MotionRefused, MotionRules
from stvla_ros.control.safety.states import State

EVERYWHERE = Box((-4.0, -4.0, -4.0), (4.0, 4.0, 4.0))
# Braked at once, the joints lead the tool 5 mm lower than this motion does.
MOVING = State(READY.copy(), np.array([-0.294, -0.197, -0.009, 0.0, 0.0, 0.0]), np.zeros(6))
GOAL = READY + [-0.014, 0.161, -0.163, 0.0, 0.0, 0.0]


def plan(**limits) -> Motion:
    limits = widowx_limits(**{"workspace": EVERYWHERE, "forbidden": {}, "table_height": None, "speed": 2.0, **limits})
    return MotionPlanner(MotionRules(widowx_arm(), limits, TICK_S)).move(MOVING, GOAL)


def halfway(lowest: Callable[[np.ndarray], float]) -> float:
    """Between the lowest point of the motion and that of its stops, metres."""
    motion = plan()
    states = np.stack([state.position for state in motion.states])
    stops = np.stack([state.position for stop in motion.stops for state in stop.states])
    assert lowest(states) - lowest(stops) > 0.004
    return (lowest(states) + lowest(stops)) / 2.0


def lowest_corner(positions: np.ndarray) -> float:
    arm = widowx_arm()
    body = Body(arm.skeleton, {}, 0.05)
    gripper = range(5, body.moving)  # the shoulder turns lower than it, and stays there
    return float(body.corners(arm.body_poses(positions), gripper)[..., 2].min())


def test_a_motion_whose_stop_would_leave_the_workspace_is_refused() -> None:
    arm = widowx_arm()
    floor = halfway(lambda positions: min(arm.tool_pose(position)[2, 3] for position in positions))
    assert plan(workspace=Box((-4.0, -4.0, floor - 0.01), (4.0, 4.0, 4.0))).states
    with pytest.raises(MotionRefused, match="workspace: the tool would leave it"):
        plan(workspace=Box((-4.0, -4.0, floor), (4.0, 4.0, 4.0)))


def test_a_motion_whose_stop_would_enter_a_forbidden_box_is_refused() -> None:
    # Below the fingers alone: the upper arm would be in a plate that goes all the way.
    floor = halfway(lowest_corner)
    assert plan(forbidden={"plate": Box((0.2, -1.0, floor - 0.2), (1.0, 1.0, floor - 0.01))}).states
    with pytest.raises(MotionRefused, match="forbidden box plate: gripper_link would enter it"):
        plan(forbidden={"plate": Box((0.2, -1.0, floor - 0.2), (1.0, 1.0, floor))})


def test_nothing_is_passed_through_between_two_ticks() -> None:
    # 2 mm of tool and 1 mm of paper; the tool moves 7 mm a tick.
    paper = {"paper": Box((0.6, -0.1, 0.0), (0.601, 0.1, 0.4))}
    planner = MotionPlanner(MotionRules(pose_arm(), pose_limits(guard_radius=0.001, forbidden=paper), TICK_S))
    for start in np.linspace(0.55, 0.557, 8):
        with pytest.raises(MotionRefused, match="forbidden box paper: tool would enter it"):
            planner.move(State.at_rest(np.array([start, 0.0, 0.2, 0.0, 0.0, 0.0])), np.array([0.66, 0.0, 0.2, 0, 0, 0]))


def test_a_box_may_be_come_near_to_slowly() -> None:
    planner = MotionPlanner(MotionRules(pose_arm(), pose_limits(), TICK_S))
    start, goal = np.array([0.5, 0.05, 0.2, 0.0, 0.0, 0.0]), np.array([0.549, 0.05, 0.2, 0.0, 0.0, 0.0])
    assert planner.move(State.at_rest(start), goal).states[-1].position == pytest.approx(goal)
