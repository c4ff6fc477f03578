"""Where a camera is, from an arm that shows it a board, or that carries it past one: hand-eye calibration.

The first estimate is Park and Martin's (Robot sensor calibration: solving AX = XB on the Euclidean group, IEEE T-RA
1994), by OpenCV's ``calibrateHandEye``. From there, least squares over both unknown poses bring the board's corners to
the pixels where they are seen (as Strobl and Hirzinger, Optimal hand-eye calibration, IROS 2006, but in pixels).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.robots.hand_eye_fit import HandEyeFit, Place, seen_at, twist_pose

Mounted = Literal["room", "hand"]
"""Where the camera is: fixed in the room, with the board in the gripper, or on the hand, with the board in the room."""
FEWEST_PLACES = 6
# Turns between the places about the second of three axes: with less, the camera's place follows from noise.
_LEAST_TURN = np.deg2rad(6.0)
# Disagreement of the places, metres and radians, beyond which something is wrong and not inexact; a single place may be
# left out by it.
_MOST_OFF_M, _MOST_OFF_RAD = 0.010, np.deg2rad(2.0)
# Standard deviations of the result, metres and radians, with which it is of no use.
_MOST_SIGMA_M, _MOST_SIGMA_RAD = 0.010, np.deg2rad(1.0)
# Of these limits: what needs no better, and what another solution must reach of this one's to be preferred.
_GOOD, _MUCH_BETTER = 0.3, 0.7
_MOST_LEFT_OUT = 0.25
# Pixels by which the corners of a board may miss its plane.
_MOST_PIXELS = 2.0
_ROUNDS = 5


@dataclass(frozen=True)
class PlaceResidual:
    """How far the board is seen from where the result expects it.

    :param distance_m: distance, metres.
    :param angle_rad: angle, radians.
    :param pixels: root mean square over the corners.
    """

    name: str
    distance_m: float
    angle_rad: float
    pixels: float


@dataclass(frozen=True)
class HandEye:
    """
    :param camera: (4, 4) pose of the camera's optical frame: in the robot's base frame, or in the tool frame for a
        camera on the hand; metres.
    :param board: (4, 4) pose of the board: in the tool frame, or in the base frame for a camera on the hand; metres.
    :param residuals: residuals of the places that count.
    :param left_out: names of the places that did not fit the others.
    :param sigma_m: standard deviation of the camera's place, metres.
    :param sigma_rad: standard deviation of its direction, radians.
    :param scale: the board's size by the arm's motion, divided by its given one.
    :param turn_rad: root mean square of the turns between places about the second of three axes, radians.
    """

    camera: np.ndarray
    board: np.ndarray
    residuals: tuple[PlaceResidual, ...]
    left_out: tuple[str, ...]
    sigma_m: float
    sigma_rad: float
    scale: float
    turn_rad: float

    @property
    def rms_m(self) -> float:
        return float(np.sqrt(np.mean([each.distance_m**2 for each in self.residuals])))

    @property
    def rms_rad(self) -> float:
        return float(np.sqrt(np.mean([each.angle_rad**2 for each in self.residuals])))


@dataclass(frozen=True)
class _Solution:
    """As :class:`HandEye`."""

    camera: np.ndarray
    board: np.ndarray
    residuals: tuple[PlaceResidual, ...]

    @property
    def off(self) -> float:
        """How far the places are off; 1 at the limit."""
        off_m = np.sqrt(np.mean([each.distance_m**2 for each in self.residuals]))
        off_rad = np.sqrt(np.mean([each.angle_rad**2 for each in self.residuals]))
        return float(max(off_m / _MOST_OFF_M, off_rad / _MOST_OFF_RAD))


def calibrate_hand_eye(places: Sequence[Place], intrinsics: np.ndarray, mounted: Mounted = "room") -> HandEye:
    """
    :param places: places of the arm, each with another turn of the tool.
    :param intrinsics: (3, 3) pinhole matrix, pixels.
    :raises InputError: for fewer than ``FEWEST_PLACES``, for turns about one axis alone, for a board that is not the
        given one or not of its size, and for places that contradict each other.
    """
    if len(places) < FEWEST_PLACES:
        raise InputError(f"places: expected {FEWEST_PLACES} or more in which the board is seen, got {len(places)}")
    turn = check_turns([place.tool[:3, :3] for place in places])
    boards = [_board_poses(place, intrinsics) for place in places]
    # From the base to the tool, or back: whichever carries the board through the camera's picture.
    arm = [place.tool if mounted == "room" else np.linalg.inv(place.tool) for place in places]

    def solved(numbers: Sequence[int]) -> _Solution:
        return _solve([places[i] for i in numbers], [arm[i] for i in numbers], [boards[i] for i in numbers], intrinsics)

    kept, solution = list(range(len(places))), solved(range(len(places)))
    # A single place may be none of the others' kind: read too early, or with a board that was touched.
    while solution.off > _GOOD and len(kept) > max(FEWEST_PLACES, (1.0 - _MOST_LEFT_OUT) * len(places)):
        tried = [solved([i for i in kept if i != left]) for left in kept]
        best = min(range(len(kept)), key=lambda i: tried[i].off)
        if tried[best].off > _MUCH_BETTER * solution.off:
            break
        solution = tried[best]
        del kept[best]
    turn = min(turn, check_turns([places[i].tool[:3, :3] for i in kept]))
    fit = HandEyeFit([places[i] for i in kept], [arm[i] for i in kept], intrinsics)
    camera, board = solution.camera, solution.board
    scale = fit.check_scale(camera, board)
    left_out = tuple(place.name for i, place in enumerate(places) if i not in kept)
    sigma_m, sigma_rad = fit.sigmas(camera, board)
    found = HandEye(camera, board, solution.residuals, left_out, sigma_m, sigma_rad, scale, turn)
    _check(found)
    return found


def _check(found: HandEye) -> None:
    """:raises InputError: when the places contradict each other, or do not tell where the camera is."""
    why = "did the board slip, or the camera move? is this the robot, and its tool frame?"
    if found.rms_m > _MOST_OFF_M or found.rms_rad > _MOST_OFF_RAD:
        raise InputError(
            f"places: expected to agree within {1000 * _MOST_OFF_M:g} mm and {np.degrees(_MOST_OFF_RAD):g} degrees, "
            f"they are off by {1000 * found.rms_m:.1f} mm and {np.degrees(found.rms_rad):.2f} degrees ({why})"
        )
    if found.sigma_m > _MOST_SIGMA_M or found.sigma_rad > _MOST_SIGMA_RAD:
        raise InputError(
            f"places: expected to tell the camera's pose to {1000 * _MOST_SIGMA_M:g} mm and "
            f"{np.degrees(_MOST_SIGMA_RAD):g} degrees, they do so to {1000 * found.sigma_m:.0f} mm and "
            f"{np.degrees(found.sigma_rad):.1f} degrees (more places with larger turns; {why})"
        )


def check_turns(rotations: Sequence[np.ndarray]) -> float:
    """
    :param rotations: (3, 3) rotations of the tool.
    :returns: root mean square of the turns between them about the second of their principal axes, radians.
    :raises InputError: when they turn about one axis alone, or not at all: the camera's place does not follow then.
    """
    turns = np.array([Rotation.from_matrix(a.T @ b).as_rotvec() for a, b in combinations(rotations, 2)])
    sizes = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    if sizes[1] < _LEAST_TURN:
        largest, second = np.degrees(sizes[:2])
        raise InputError(
            f"places: expected turns of the gripper about two axes, {np.degrees(_LEAST_TURN):g} degrees or more, got "
            f"{largest:.1f} degrees about one and {second:.1f} about a second (tilt the gripper as well)"
        )
    return float(sizes[1])


def _board_poses(place: Place, intrinsics: np.ndarray) -> list[np.ndarray]:
    """The poses of the board in the camera's frame, (4, 4), the better first. A flat thing that is small in the picture
    has two (Schweighofer and Pinz, TPAMI 2006).

    :raises InputError: when the corners are not where the board has them.
    """
    found, turns, ways, errors = cv2.solvePnPGeneric(
        place.points, place.pixels, intrinsics, None, flags=cv2.SOLVEPNP_IPPE
    )
    poses = []
    for turn, way, error in sorted(zip(turns, ways, np.ravel(errors)), key=lambda each: each[2]) if found else ():
        if np.isfinite(error) and way[2, 0] > 0.0:
            turn, way = cv2.solvePnPRefineLM(place.points, place.pixels, intrinsics, None, turn, way)
            poses.append(twist_pose(turn.ravel(), way.ravel()))
    pixels = _rms(seen_at(poses[0], place.points, intrinsics) - place.pixels) if poses else np.inf
    if not pixels < _MOST_PIXELS:
        raise InputError(
            f"board: expected its corners within {_MOST_PIXELS:g} pixels of a plane, in {place.name} they are "
            f"{pixels:.1f} off (another board, a bent or blurred one, or another camera's camera_info)"
        )
    return poses


def _solve(
    places: Sequence[Place], arm: Sequence[np.ndarray], boards: Sequence[list[np.ndarray]], intrinsics: np.ndarray
) -> _Solution:
    chosen = [0] * len(places)
    for _ in range(_ROUNDS):
        seen = [poses[which] for poses, which in zip(boards, chosen)]
        camera = _first_estimate(arm, seen)
        board = _mean_pose([np.linalg.inv(a) @ camera @ s for a, s in zip(arm, seen)])
        expected = [np.linalg.inv(camera) @ a @ board for a in arm]
        better = [
            min(range(len(poses)), key=lambda i: _angle(poses[i], wanted)) for poses, wanted in zip(boards, expected)
        ]
        if better == chosen:
            break
        chosen = better
    camera, board = HandEyeFit(places, arm, intrinsics).solve(camera, board)
    residuals = []
    for place, a, poses in zip(places, arm, boards):
        expected = np.linalg.inv(camera) @ a @ board
        pose = min(poses, key=lambda each: _angle(each, expected))
        middle = np.append(place.points.mean(axis=0), 1.0)
        pixels = _rms(seen_at(expected, place.points, intrinsics) - place.pixels)
        distance = float(np.linalg.norm((pose @ middle - expected @ middle)[:3]))
        residuals.append(PlaceResidual(place.name, distance, _angle(pose, expected), pixels))
    return _Solution(camera, board, tuple(residuals))


def _first_estimate(arm: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> np.ndarray:
    # OpenCV's names are those of a camera on the hand. With the camera in the room, its "gripper to base" is the base
    # in the tool's frame, and its result the camera in the base's.
    back = [np.linalg.inv(each) for each in arm]
    turn, way = cv2.calibrateHandEye(
        [each[:3, :3] for each in back],
        [each[:3, 3] for each in back],
        [each[:3, :3] for each in seen],
        [each[:3, 3] for each in seen],
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, way.ravel()
    return camera


def _mean_pose(poses: Sequence[np.ndarray]) -> np.ndarray:
    turn = Rotation.from_matrix(np.stack([each[:3, :3] for each in poses])).mean().as_rotvec()
    return twist_pose(turn, np.mean([each[:3, 3] for each in poses], axis=0))


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(Rotation.from_matrix(one[:3, :3].T @ other[:3, :3]).as_rotvec()))


def _rms(errors: np.ndarray) -> float:
    """Root mean square of the lengths of (n, 2) errors."""
    return float(np.sqrt((errors**2).sum(axis=1).mean()))
