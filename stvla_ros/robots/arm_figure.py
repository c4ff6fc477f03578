"""Draws an arm as a figure of lines, for people who watch a run without the robot."""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pinocchio

from stvla_ros.errors import InputError, reason_of
from stvla_ros.perception.lettering import BACKGROUND, FAINT, INK, draw_text
from stvla_ros.robots.urdf_arm import is_text, model_of, read_urdf, reduced_model

_WAY, _TOOL = (255, 176, 66), (92, 214, 128)
_SHIFT = 4  # fractional bits of sub-pixel coordinates
_SHORTEST_WAY_M = 1e-4
_WAY_KEPT = 512


class ArmFigure:
    """The origins of an arm's joints up to its tool point, drawn from the side and from above, with the tool's way.

    :param urdf: file of the URDF, or the XML itself (``robot_description``).
    :param joints: names of the moving joints; all others stay at zero.
    :param tool_frame: link whose origin is the tool point.
    :raises InputError: naming the URDF and its fault.
    """

    def __init__(self, urdf: str | Path, joints: Sequence[str], tool_frame: str) -> None:
        what = "robot_description" if is_text(urdf) else urdf
        try:
            text, _ = read_urdf(urdf)
            self._model, _ = reduced_model(model_of(text), joints, tool_frame)
        except (ValueError, RuntimeError) as error:  # Pinocchio's, and InputError
            raise InputError(f"urdf {what}: {reason_of(error, longest=400)}") from None
        self._data = self._model.createData()
        self._tool = self._model.getFrameId(tool_frame)
        self._places = {name: self._model.joints[self._model.getJointId(name)].idx_q for name in joints}
        carrier = self._model.frames[self._tool].parentJoint
        # From the base on; the world's own joint comes first.
        self._chain = [joint for joint in self._model.supports[carrier] if joint]
        way = self.points(dict.fromkeys(joints, 0.0))
        self._reach = float(np.linalg.norm(np.diff(way, axis=0), axis=1).sum())
        self._way: deque[np.ndarray] = deque(maxlen=_WAY_KEPT)

    def points(self, positions: Mapping[str, float]) -> np.ndarray:
        """(n, 3) metres in the base frame: base, joints in their order, tool point.

        :param positions: radians or metres by joint name; more than the arm's may be given.
        :raises InputError: for a joint that is missing, or whose position is not finite.
        """
        position = pinocchio.neutral(self._model)
        for name, place in self._places.items():
            if not np.isfinite(value := positions.get(name, np.nan)):
                raise InputError(f"joint_states: expected a position of {name}, got {positions.get(name)}")
            position[place] = value
        pinocchio.forwardKinematics(self._model, self._data, position)
        tool = pinocchio.updateFramePlacement(self._model, self._data, self._tool)
        joints = [self._data.oMi[joint].translation for joint in self._chain]
        return np.array([np.zeros(3), *joints, tool.translation])

    def draw(self, positions: Mapping[str, float], size: tuple[int, int]) -> np.ndarray:
        """Draw the arm, and the way that its tool point took in the pictures before.

        :param size: (width, height) of the picture, pixels.
        :returns: (height, width, 3) uint8 rgb.
        :raises InputError: as :meth:`points`.
        """
        points = self.points(positions)
        if not self._way or np.linalg.norm(points[-1] - self._way[-1]) > _SHORTEST_WAY_M:
            self._way.append(points[-1])
        width, height = size
        picture = np.full((height, width, 3), BACKGROUND, np.uint8)
        half = width // 2
        # Forward is to the right in both, up or left is up (REP-103: x forward, y left, z up).
        self._view(picture[:, :half], points, (0, 2), "side: x, z", floor=True)
        self._view(picture[:, half:], points, (0, 1), "above: x, y", floor=False)
        cv2.line(picture, (half, 0), (half, height), FAINT, 1)
        return picture

    def _view(self, part: np.ndarray, points: np.ndarray, axes: tuple[int, int], title: str, floor: bool) -> None:
        height, width = part.shape[:2]
        # Arms work in front of their bases, and above the floor.
        scale = min(width / (1.4 * self._reach), height / ((1.3 if floor else 2.0) * self._reach))
        origin = np.array([0.28 * width, height * (0.75 if floor else 0.5)])

        def pixels(places: np.ndarray) -> np.ndarray:
            flat = origin + places[:, axes] * np.array([scale, -scale])
            return np.round(flat * 2**_SHIFT).astype(np.int32)

        thick = max(2, round(height / 90))
        if floor:
            level = round(origin[1])
            cv2.line(part, (0, level), (width, level), FAINT, 1)
        if len(self._way) > 1:
            way = pixels(np.array(self._way))
            cv2.polylines(part, [way], False, _WAY, max(1, thick // 2), cv2.LINE_AA, _SHIFT)
        arm = pixels(points)
        cv2.polylines(part, [arm], False, INK, thick, cv2.LINE_AA, _SHIFT)
        for place, colour in [(each, FAINT) for each in arm[:-1]] + [(arm[-1], _TOOL)]:
            cv2.circle(part, tuple(map(int, place)), round(1.2 * thick * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
        draw_text(part, title, (6, height - 8), max(8, height // 36), FAINT)
