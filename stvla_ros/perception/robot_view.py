"""The places of a robot's links in a camera's picture, which the ``kinematic`` tracker follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class RobotShape:
    """The constant part. Points are in the links' own frames, metres.

    :param planes: name of the link and planes of the hull, for each convex part of a link. Planes are (k, 4): outward
        unit normals n and offsets d; n x + d is at most 0 inside.
    :param mark_links: link of each mark.
    :param marks: (n, 3) points that are always followed: the tips of the fingers, and last, on the palm, the middle
        between them.
    :param palm: link that carries the fingers; "" for a robot without fingers.
    :param grasp: (3,) the same middle, in the palm's frame.
    :param widest: mean distance of the tips from their middle with all fingers open, metres.
    """

    planes: tuple[tuple[str, np.ndarray], ...]
    mark_links: tuple[str, ...]
    marks: np.ndarray
    palm: str
    grasp: np.ndarray
    widest: float


@dataclass(frozen=True, eq=False)
class RobotView:
    """The robot in one frame.

    :param camera_from_link: (4, 4) pose of each link in the camera's optical frame (REP-103) by link, metres.
    :param intrinsics: (3, 3) pinhole matrix of the picture.
    """

    shape: RobotShape
    camera_from_link: Mapping[str, np.ndarray]
    intrinsics: np.ndarray

    def carriers(self, points: np.ndarray, margin: float) -> np.ndarray:
        """The part of a link on which each point lies.

        :param points: (N, 3) metres in the camera's frame; NaN is on none.
        :param margin: largest distance outside of a hull, metres, at which a point still counts as on it.
        :returns: (N,) index into ``shape.planes``, -1 for a point on no link.
        """
        if not self.shape.planes:
            return np.full(len(points), -1)
        planes, first = self._in_camera
        outside = np.maximum.reduceat(points @ planes[:, :3].T + planes[:, 3], first, axis=1)
        nearest = outside.argmin(axis=1)
        # argmin takes NaN for the smallest number, so it is replaced.
        return np.where(outside[np.arange(len(points)), nearest] < margin, nearest, -1)

    @cached_property
    def _in_camera(self) -> tuple[np.ndarray, np.ndarray]:
        """All parts' planes in the camera's frame (K, 4), and the row of each part's first."""
        placed = []
        for link, planes in self.shape.planes:
            pose = self.camera_from_link[link]
            normals = planes[:, :3] @ pose[:3, :3].T
            placed.append(np.column_stack([normals, planes[:, 3] - normals @ pose[:3, 3]]))
        return np.concatenate(placed), np.cumsum([0] + [len(each) for each in placed[:-1]])

    @property
    def finger_gap(self) -> float:
        """Mean distance of the fingers' tips from their middle, metres."""
        shape = self.shape
        tips = np.array(
            [
                self.camera_from_link[link][:3, :3] @ mark + self.camera_from_link[link][:3, 3]
                for link, mark in zip(shape.mark_links[:-1], shape.marks)
            ]
        )
        return float(np.linalg.norm(tips - tips.mean(axis=0), axis=1).mean())


def in_link(camera_from_link: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) in the camera's frame, transformed to a link's."""
    there: np.ndarray = (points - camera_from_link[:3, 3]) @ camera_from_link[:3, :3]
    return there
