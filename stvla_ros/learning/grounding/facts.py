"""A simulator's knowledge about a picture, as numbers in the picture that the policy sees. Pure functions.

Pixels are counted from the upper left corner: the picture reaches from 0 to its width, as in the format of boxes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from stvla_ros.perception.geometry import project
from stvla_ros.sim.environment import SeenThings

# In a picture of 224x224 pixels: smaller things cannot be recognised.
_LEAST_PIXELS = 16
# A shorter path, in sides of the picture, does not count.
_SHORTEST_WAY = 0.04
FEWEST_WAYPOINTS, MOST_WAYPOINTS = 5, 8
_WAYPOINTS_A_SIDE = 8.0
# Difference between pixels whose centres are whole numbers and pixels counted from the picture's corner.
_CORNER = 0.5


@dataclass(frozen=True, eq=False)
class SceneFacts:
    """The places of things in one picture, in pixels of the size asked for.

    :param instruction: instruction of the robot.
    :param boxes: box (4,) x0, y0, x1, y1 of each visible thing, by name.
    :param inside: point (2,) on each of them, by name.
    :param moved: name of the object to move; empty if there is no single one.
    :param goal: name of the thing that it must be brought to; empty if that is only a place.
    :param place: (2,) place where the object must be put; None if it is unknown, or outside of the picture.
    :param gripper: (2,) place of the tool point; None outside of the picture.
    :param way: (N, 2) waypoints of the tool point's future path; None if it is unknown, short, or leaves the picture.
    """

    instruction: str
    boxes: Mapping[str, np.ndarray]
    inside: Mapping[str, np.ndarray]
    moved: str = ""
    goal: str = ""
    place: np.ndarray | None = None
    gripper: np.ndarray | None = None
    way: np.ndarray | None = field(default=None)


def scene_facts(
    instruction: str,
    things: SeenThings,
    points: np.ndarray | None,
    intrinsics: np.ndarray,
    size: int,
    coming: np.ndarray | None = None,
) -> SceneFacts:
    """
    :param things: visible things in the camera's picture.
    :param points: (3, 3) ``Environment.scene_points`` in metres.
    :param intrinsics: (3, 3) pinhole matrix in the camera's pixels, with pixel centres at whole numbers.
    :param size: side of the picture that the policy sees, pixels; the two axes are scaled independently.
    :param coming: (N, 3) metres in the camera's frame, positions of the tool point from this picture on.
    """
    shown = {name: mask for name, mask in things.masks.items() if _is_seen(mask, size)}
    height, width = next(iter(things.masks.values())).shape
    scale = np.array([size / width, size / height])
    place = gripper = way = None
    if points is not None:
        places = (project(points, intrinsics) + _CORNER) * scale
        place = _in_picture(places[1], size) if things.moved else None
        gripper = _in_picture(places[2], size)
    if coming is not None:
        way = waypoints((project(coming, intrinsics) + _CORNER) * scale, size)
    return SceneFacts(
        instruction,
        {name: box_of(mask) * np.tile(scale, 2) for name, mask in shown.items()},
        {name: point_in(mask) * scale for name, mask in shown.items()},
        things.moved,
        things.goal,
        place,
        gripper,
        way,
    )


def box_of(mask: np.ndarray) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of the smallest box around the pixels. :param mask: (H, W) bool, some of it True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def point_in(mask: np.ndarray) -> np.ndarray:
    """(2,) x, y of the pixel that is farthest from the mask's edge. :param mask: (H, W) bool, some of it True."""
    framed = np.pad(mask, 1).astype(np.uint8)
    distances = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(distances.argmax()), mask.shape)
    return np.array([column + 0.5, row + 0.5])


def waypoints(way: np.ndarray, size: int) -> np.ndarray | None:
    """Points at equal distances along a path, its ends among them.

    :param way: (N, 2) pixels.
    :returns: (n, 2), ``FEWEST_WAYPOINTS`` to ``MOST_WAYPOINTS`` by its length; None where it is too short or leaves the
        picture.
    """
    if not np.isfinite(way).all() or (way < 0).any() or (way > size).any():
        return None
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    if lengths[-1] < _SHORTEST_WAY * size:
        return None
    number = int(np.clip(round(_WAYPOINTS_A_SIDE * lengths[-1] / size), FEWEST_WAYPOINTS, MOST_WAYPOINTS))
    wanted = np.linspace(0.0, lengths[-1], number)
    return np.stack([np.interp(wanted, lengths, axis) for axis in way.T], axis=1)


def _is_seen(mask: np.ndarray, size: int) -> bool:
    height, width = mask.shape
    return bool(mask.sum() * (size * size / (height * width)) >= _LEAST_PIXELS)


def _in_picture(place: np.ndarray, size: int) -> np.ndarray | None:
    return place if np.isfinite(place).all() and (place >= 0).all() and (place <= size).all() else None
