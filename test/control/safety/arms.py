"""Arms and limits that the tests of the safety gate share."""

import itertools
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicHermiteSpline

from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.limits import Box, JointLimits, SafetyLimits
from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.control.safety.rules import MotionRules
from stvla_ros.robots.pose_arm import PoseArm
from stvla_ros.robots.urdf_arm import UrdfArm

TICK_S, PERIOD_S = 0.02, 0.2
URDF = Path(__file__).parents[3] / "config" / "robots" / "wx250s.urdf"
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
# Rounding of the trajectories, relative.
SLACK = 1.001
# Into so many a tick is divided, to see what lies between two: others than the gate looks at.
PARTS = 5
# Metres that hulls may come nearer between two ticks than at both.
BETWEEN_TICKS = 0.0001
# The tool points down, 0.3 m before the base and 0.15 m above it.
READY = np.array([0.0, 0.022008, 0.183189, 0.0, 1.365597, 0.0])


def widowx_arm() -> UrdfArm:
    return UrdfArm(URDF, JOINTS, "ee_gripper_link")


def widowx_limits(**changed) -> SafetyLimits:
    lower, upper = widowx_arm().position_limits
    joints = {
        name: JointLimits(low, high, *((1.5, 16.0, 600.0) if name in JOINTS[:3] else (2.5, 25.0, 1000.0)))
        for name, low, high in zip(JOINTS, lower, upper)
    }
    usual = {
        "joints": joints,
        "workspace": Box((0.15, -0.2, 0.02), (0.42, 0.2, 0.3)),
        "forbidden": {"post": Box((0.2, 0.06, 0.0), (0.3, 0.15, 0.16))},
    }
    return SafetyLimits(**{**usual, **changed})


def pose_arm() -> PoseArm:
    return PoseArm(np.diag([1.0, -1.0, -1.0]))


def pose_limits(**changed) -> SafetyLimits:
    way = {axis: JointLimits(-1.0, 1.0, 0.4, 5.0, 200.0) for axis in "xyz"}
    turn = {f"r{axis}": JointLimits(-2.8, 2.8, 2.0, 25.0, 1000.0) for axis in "xyz"}
    box = Box((0.3, -0.3, 0.0), (0.8, 0.3, 0.5))
    forbidden = {"post": Box((0.6, 0.0, 0.0), (0.7, 0.1, 0.3))}
    usual = {"joints": {**way, **turn}, "workspace": box, "joint_margin": 0.01, "forbidden": forbidden}
    return SafetyLimits(**{**usual, **changed})


ROBOTS = {
    "widowx": (widowx_arm, widowx_limits, READY),
    "poses": (pose_arm, pose_limits, np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0])),
}


def started_gate(robot: str = "widowx", **changed) -> SafetyGate:
    """A gate with the arm at rest in the middle of its workspace, at time 0."""
    make_arm, make_limits, ready = ROBOTS[robot]
    gate = SafetyGate(make_arm(), make_limits(**changed), TICK_S, PERIOD_S)
    gate.start(ready, 1.0, 0)
    return gate


def between(setpoints: list[Setpoint], parts: int = PARTS) -> np.ndarray:
    """(k, n) positions at each tick and between two: what a smooth motion through them goes through."""
    found = [setpoints[0].position]
    for before, after in itertools.pairwise(setpoints):
        if np.array_equal(before.position, after.position):
            continue
        way = CubicHermiteSpline([0.0, TICK_S], [before.position, after.position], [before.velocity, after.velocity])
        found += list(way(TICK_S * np.arange(1, parts + 1) / parts))
    return np.stack(found)


def assert_body_within_limits(
    rules: MotionRules, setpoints: list[Setpoint], start: np.ndarray, in_room: bool = True
) -> None:
    """That no hull was below the table, outside the room, in a box or in another, at any tick and between; farther than
    at the start, or than by rounding. And that no corner of a hull was too fast.
    """
    limits, body, fine = rules.limits, rules.body, between(setpoints)
    poses, at_start = rules.arm.body_poses(fine), rules.arm.body_poses(start[None])
    corners, first = body.corners(poses), body.corners(at_start)
    if limits.table_height is not None:
        assert corners[..., 2].min() > min(limits.table_height, first[..., 2].min()) - BETWEEN_TICKS
    assert not in_room or rules.room.outside(corners).max() < rules.room.outside(first).max() + BETWEEN_TICKS
    allowed = np.minimum(-rules.allowed, body.clearances(at_start)[0])
    looked = body.clearances(poses, near=0.001)
    assert (looked > np.minimum(allowed, 0.0) - BETWEEN_TICKS).all()
    parts = np.linalg.norm(np.diff(corners, axis=0), axis=-1)
    assert parts.max(initial=0.0) <= limits.speed * TICK_S / PARTS * SLACK
