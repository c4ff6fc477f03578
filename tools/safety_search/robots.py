"""The robots in the search: the WidowX as its file describes it, and one that consists of coordinates alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.limits import Box, JointLimits, SafetyLimits
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.pose_arm import PoseArm
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.sim.maniskill.assets import find_assets
from tools.safety_search.measures import Scene
from tools.safety_search.oracle import MeshOracle, PointOracle
from tools.safety_search.player import Player

_DOWN = np.diag([1.0, -1.0, -1.0])
# Positions of the WidowX' fingers in Interbotix' description, wide open, metres.
_FINGERS = {"left_finger": 0.037, "right_finger": 0.037}


@dataclass(frozen=True, eq=False)
class Robot:
    """
    :param ready: (n,) position at which every sequence begins.
    :param forms: origin of the oracle's forms of the robot's parts, for a person.
    """

    name: str
    scene: Scene
    make_gate: Callable[[], SafetyGate]
    ready: np.ndarray
    tick_s: float
    period_s: float
    forms: str

    def player(self) -> Player:
        gate = self.make_gate()
        gate.start(self.ready, 1.0, 0)
        return Player(gate, self.ready, self.tick_s, self.period_s)


def widowx() -> Robot:
    embodiment = find_embodiment("widowx")
    driver = embodiment.driver
    tick_s, period_s = 1.0 / driver.tick_hz, 1.0 / embodiment.control_hz
    known = np.array([driver.home, driver.rest])
    try:
        # ManiSkill's copy of Interbotix' description contains their meshes.
        urdf, fixed = find_assets(download=False) / "data/robots/widowx/wx250s.urdf", _FINGERS
    except InputError:
        urdf, fixed = Path(driver.arm.urdf), {}
    oracle = MeshOracle(urdf, driver.arm.joints, driver.arm.tool_frame, fixed, known)
    scene = Scene(tuple(driver.arm.joints), driver.limits, oracle)

    arm: Kinematics = UrdfArm(driver.arm.urdf, driver.arm.joints, driver.arm.tool_frame)

    def make_gate() -> SafetyGate:
        return SafetyGate(arm, driver.limits, tick_s, period_s, known=list(known))

    return Robot("widowx", scene, make_gate, np.array(driver.home), tick_s, period_s, str(urdf))


def poses() -> Robot:
    """A robot whose own controller takes poses of the tool, with narrow limits and a post in its way."""
    way = {axis: JointLimits(-1.0, 1.0, 0.4, 5.0, 200.0) for axis in "xyz"}
    turn = {f"r{axis}": JointLimits(-2.8, 2.8, 2.0, 25.0, 1000.0) for axis in "xyz"}
    limits = SafetyLimits(
        joints={**way, **turn},
        workspace=Box((0.3, -0.3, 0.0), (0.8, 0.3, 0.5)),
        joint_margin=0.01,
        forbidden={"post": Box((0.6, 0.0, 0.0), (0.7, 0.1, 0.3))},
    )
    tick_s, period_s = 0.02, 0.2
    scene = Scene(PoseArm.names, limits, PointOracle(_DOWN))
    ready = np.array([0.5, 0.0, 0.2, 0.0, 0.0, 0.0])
    return Robot(
        "poses", scene, lambda: SafetyGate(PoseArm(_DOWN), limits, tick_s, period_s), ready, tick_s, period_s, "none"
    )


ROBOTS: dict[str, Callable[[], Robot]] = {"widowx": widowx, "poses": poses}
