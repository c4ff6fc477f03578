"""Node ``fake_xs_arm``: the topics, services and timing of Interbotix' ``xs_sdk`` around a kinematic stand-in.

For ``use_fake_hardware:=true`` and tests. Messages that would harm a real arm (NaN, goals beyond limits) are counted on
``/diagnostics``.
"""

from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.xs_interface import JOINT_STATES_HZ, XsInterface
from stvla_ros.nodes.kit.base import StvlaNode, run
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.fake_arm import FakeArm
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build


class FakeXsArmNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("fake_xs_arm")
        robot = self.parameter("robot", "widowx", "embodiment, or a YAML file that describes one")
        self._failures = self.parameter(
            "read_failure_share",
            0.0,
            "share of joint states that carry a NaN, as after a failed read",
            low=0.0,
            high=1.0,
        )
        seed = self.parameter("seed", 0, "of the read failures", low=0, high=2**31 - 1)
        start = self.parameter("start", "rest", "where the arm is at the start", choices=("rest", "home"))
        blocked = self.parameter("obstacle_joint", "", "joint that meets an obstacle; empty: none does")
        obstacle = self.parameter(
            "obstacle", 0.0, "position that this joint cannot pass, rad", low=-2.0 * np.pi, high=2.0 * np.pi
        )
        self._random = np.random.default_rng(seed)
        self._embodiment = find_embodiment(robot)
        driver = self._embodiment.driver
        if driver is None or driver.arm is None:
            raise InputError(f"parameter robot: expected one with driver.arm, got {robot}")
        self._settings = build(XsSettings, dict(driver.settings), "driver.settings.")
        self._joints = driver.arm.joints
        if blocked and blocked not in self._joints:
            raise InputError(f"parameter obstacle_joint: expected one of {', '.join(self._joints)}, got {blocked!r}")
        limits = [driver.limits.joints[name] for name in self._joints]
        self._arm = FakeArm(
            [each.lower for each in limits],
            [each.upper for each in limits],
            [np.pi] * len(limits),
            getattr(driver, start),
            self._settings.finger_closed,
            self._settings.finger_open,
            {self._joints.index(blocked): obstacle} if blocked else {},
        )
        self._limits = dict(zip(self._joints, limits))

    def configure(self) -> None:
        self._interface = XsInterface(self, self._settings, self._limits, self._arm)
        self.every(1.0 / JOINT_STATES_HZ, self._publish)

    def activate(self) -> None:
        self._interface.listen()

    def extra_diagnostics(self) -> dict[str, Any]:
        unsafe = self._interface.unsafe if self.is_active else 0
        return {"unsafe_commands": unsafe, "torque": self._arm.torque}

    def _publish(self) -> None:
        if self.is_active:
            failed = self._random.random() < self._failures
            self._interface.publish(int(self._random.integers(len(self._joints))) if failed else None)


def main() -> None:
    run(FakeXsArmNode)


if __name__ == "__main__":
    main()
