"""The target of a command: limits the size of its step, keeps it in the workspace, and keeps it from running too far
ahead of the arm.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.control.safety.rotations import angle_between

# Distance from the workspace's walls that a target keeps, metres: between two points of a wall, the joints move the
# tool in an arc.
_INSET = 0.003
# The target may be ahead of the arm by this many of the largest steps, in translation and in rotation. More commands
# than control periods would otherwise add up to a path that the arm still follows long after the last one.
_LEAD_STEPS = 2.0


class CommandTargets:
    """Limits of commands' targets. All poses are (4, 4), in the robot's base frame."""

    def __init__(self, limits: SafetyLimits) -> None:
        self._limits = limits
        self._workspace = limits.workspace.grown(-_INSET)

    def target(self, action: EndEffectorAction, before: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """
        :param before: target pose that the command is relative to.
        :returns: target pose of the command, and the names of the limits that changed it.
        """
        clipped = []
        translation, short = _shortened(action.translation, self._limits.step_translation)
        clipped += ["step_translation"] if short else []
        rotation, short = _shortened(action.rotation, self._limits.step_rotation)
        clipped += ["step_rotation"] if short else []
        wanted = before.copy()
        wanted[:3, :3] = Rotation.from_rotvec(rotation).as_matrix() @ before[:3, :3]
        wanted[:3, 3] += translation
        # If the arm is outside already, the target must not be farther out.
        low, high = np.minimum(self._workspace.low, before[:3, 3]), np.maximum(self._workspace.high, before[:3, 3])
        clamped = np.clip(wanted[:3, 3], low, high)
        if not np.array_equal(clamped, wanted[:3, 3]):
            clipped.append("workspace")
            wanted[:3, 3] = clamped
        return wanted, tuple(clipped)

    def too_far_ahead(self, target: np.ndarray, tool: np.ndarray) -> str:
        """
        :param tool: pose of the tool at the arm's present position.
        :returns: reason why the target is too far from it; empty when it is not.
        """
        way = float(np.linalg.norm(target[:3, 3] - tool[:3, 3]))
        turn = angle_between(target[:3, :3], tool[:3, :3])
        for distance, step, unit in (
            (way, self._limits.step_translation, "m"),
            (turn, self._limits.step_rotation, "rad"),
        ):
            if not distance <= (allowed := _LEAD_STEPS * step):
                return f"ahead of the arm: the target would be {distance:.3f} {unit} away, {allowed:g} allowed"
        return ""


def _shortened(way: np.ndarray, most: float) -> tuple[np.ndarray, bool]:
    """A vector (3,) shortened to this length, and whether it was longer."""
    greatest = max(float(np.abs(way).max()), 1e-300)
    # The square of a huge number is infinite.
    length = greatest * float(np.linalg.norm(way / greatest))
    return (way * (most / length), True) if length > most else (way, False)
