"""The least squares of a hand-eye calibration: both unknown poses at once, in pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError

# Relative error of the board's size that matters, and how sure the motion must be of it.
_MOST_SCALE, _SURE = 0.02, 4.0


@dataclass(frozen=True)
class Place:
    """The arm at rest, and what the camera sees then.

    :param name: name of the place, for messages.
    :param tool: (4, 4) pose of the tool frame in the robot's base frame, metres.
    :param points: (n, 3) corners in the board's frame, metres, on the plane z = 0.
    :param pixels: (n, 2) places where they are seen, pixels of a pinhole camera.
    """

    name: str
    tool: np.ndarray
    points: np.ndarray
    pixels: np.ndarray


class HandEyeFit:
    """Least squares in pixels. Steps are twists of the two poses, (6,) each: turn in radians, way in metres."""

    def __init__(self, places: Sequence[Place], arm: Sequence[np.ndarray], intrinsics: np.ndarray) -> None:
        self._places, self._arm, self._intrinsics = places, arm, intrinsics

    def solve(self, camera: np.ndarray, board: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        step = least_squares(self._errors(camera, board), np.zeros(12), x_scale="jac", method="lm").x
        return moved(camera, step[:6]), moved(board, step[6:])

    def sigmas(self, camera: np.ndarray, board: np.ndarray) -> tuple[float, float]:
        """Standard deviations of the camera's place (metres) and direction (radians)."""
        covariance = self._covariance(self._errors(camera, board), np.zeros(12))
        return float(np.sqrt(np.trace(covariance[3:6, 3:6]))), float(np.sqrt(np.trace(covariance[:3, :3])))

    def check_scale(self, camera: np.ndarray, board: np.ndarray) -> float:
        """The board's size as the arm's motion measures it, as a share of the given one.

        :raises InputError: when it is surely another.
        """
        errors = self._errors(camera, board)
        found = least_squares(errors, np.zeros(13), x_scale="jac", method="lm")
        sigma = float(np.sqrt(self._covariance(errors, found.x)[12, 12]))
        scale = float(np.exp(found.x[12]))
        if abs(scale - 1.0) > max(_MOST_SCALE, _SURE * sigma):
            percent, which = 100 * abs(scale - 1.0), "larger" if scale > 1.0 else "smaller"
            raise InputError(
                f"board: expected the given size, by the arm's motion it is {percent:.1f} % {which} (measure the "
                "printed squares; or camera_info is another camera's)"
            )
        return scale

    def _errors(self, camera: np.ndarray, board: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def errors(step: np.ndarray) -> np.ndarray:
            scale = np.exp(step[12]) if len(step) > 12 else 1.0
            back, held = np.linalg.inv(moved(camera, step[:6])), moved(board, step[6:12])
            seen = [
                seen_at(back @ a @ held, scale * p.points, self._intrinsics) for a, p in zip(self._arm, self._places)
            ]
            return np.concatenate([(s - p.pixels).ravel() for s, p in zip(seen, self._places)])

        return errors

    def _covariance(self, errors: Callable[[np.ndarray], np.ndarray], step: np.ndarray) -> np.ndarray:
        """Of the step. The errors of one place depend on each other, as the arm's own; those of different places do not
        (the sandwich estimator of clustered errors: Liang and Zeger, Biometrika 1986).
        """
        width = 1e-6
        now = errors(step)
        slopes = np.stack(
            [(errors(step + width * unit) - errors(step - width * unit)) / (2 * width) for unit in np.eye(len(step))],
            axis=1,
        )
        inverse = np.linalg.pinv(slopes.T @ slopes)
        ends = np.cumsum([place.pixels.size for place in self._places])[:-1]
        pulls = np.stack([s.T @ e for s, e in zip(np.split(slopes, ends), np.split(now, ends))])
        count = len(self._places)
        # Each place determines at most six of the unknowns.
        spread = count / max(count - len(step) / 6.0, 1.0)
        return spread * inverse @ pulls.T @ pulls @ inverse


def seen_at(pose: np.ndarray, points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """(n, 2) pixels of the points of a board with this pose in the camera's frame."""
    there = points @ pose[:3, :3].T + pose[:3, 3]
    there = there @ intrinsics.T
    return there[:, :2] / np.maximum(there[:, 2:], 1e-6)


def twist_pose(turn: np.ndarray, way: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), way
    return pose


def moved(pose: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The pose, turned and moved in its own frame."""
    return pose @ twist_pose(step[:3], step[3:])
