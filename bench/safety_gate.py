"""The cost of one command in the safety gate of the WidowX: its motion, its stops and all checks; and of the same
commands for an arm of which only the tool point is known, in one run.

Random steps that last a second each lead the arm about its workspace, as a policy does. A refused command takes less
time, so only executed ones are counted.
"""

import time
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.kinematics import Hull, Skeleton
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

COMMANDS, HELD, ANEW = 1200, 5, 40


class ToolAlone:
    """The same arm, but with only its tool point known."""

    def __init__(self, arm: UrdfArm) -> None:
        self._arm = arm
        tool = Hull("tool", 1, arm.skeleton.tool_offset[None, :3, 3], guessed=True)
        self.skeleton = Skeleton((0, 0), 1, arm.skeleton.tool_offset, (tool,))

    def body_poses(self, positions: np.ndarray) -> np.ndarray:
        return self._arm.body_poses(positions)[:, [0, self._arm.skeleton.tool]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._arm, name)

    def copy(self) -> "ToolAlone":
        return ToolAlone(self._arm.copy())


def seconds(arm: Any, seed: int = 0) -> tuple[np.ndarray, float]:
    """(k, 2) seconds of each executed command, by the clock and of the processor, which a busy machine does not change;
    and the mean number of distances between hulls that a command needed.
    """
    robot = find_embodiment("widowx")
    driver = robot.driver
    home, tick_s, period_s = np.array(driver.home), 1.0 / driver.tick_hz, 1.0 / robot.control_hz
    gate = SafetyGate(arm, driver.limits.in_mode("reduced"), tick_s, period_s, [home, np.array(driver.rest)])
    asked_before = gate.rules.body.asked
    random, now_ns, found = np.random.default_rng(seed), 0, []
    for number in range(COMMANDS):
        if number % ANEW == 0:
            gate.start(home, 1.0, now_ns)
        if number % HELD == 0:
            way, turn = random.uniform(-0.03, 0.03, 3), random.uniform(-0.1, 0.1, 3)
        began = time.perf_counter(), time.process_time()
        verdict = gate.command(EndEffectorAction(way, turn, 1.0), now_ns, now_ns)
        if verdict.executed:
            found.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        for _ in range(round(period_s / tick_s)):
            gate.tick()
            now_ns += round(tick_s * 1e9)
    return np.array(found), (gate.rules.body.asked - asked_before) / COMMANDS


def rows() -> list[dict[str, Any]]:
    description = find_embodiment("widowx").driver.arm
    arm = UrdfArm(description.urdf, description.joints, description.tool_frame)
    bare, _ = seconds(ToolAlone(arm))
    whole, asked = seconds(arm)
    return [
        {
            "what": what,
            "executed": len(taken),
            "median_ms": float(np.median(taken[:, 0])) * 1e3,
            "p99_ms": float(np.percentile(taken[:, 0], 99)) * 1e3,
            "median_cpu_ms": float(np.median(taken[:, 1])) * 1e3,
            "ratio_cpu": float(np.median(taken[:, 1]) / np.median(bare[:, 1])),
            "distances": round(distances),
        }
        for what, taken, distances in (("the tool point alone", bare, 0.0), ("all links' hulls", whole, asked))
    ]
