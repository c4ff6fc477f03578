"""Exact tracks of points in the simulator's pictures, for measuring trackers.

A point is a spot on a body. The pixel where it was chosen, with the depth there, gives its place on the link or object
that the segmentation names. Its later pixels follow from that body's poses. Points on the photograph behind the WidowX
scenes, and on nothing at all, stay where they are, since no camera moves.

Accuracy: rendered depth is truncated to millimetres, so a point lies within 0.5 mm of its surface along the ray. After
the body has turned by a right angle, the error is at most f * 0.5 mm / distance, about 0.8 px at the WidowX gripper
(0.4 m away); usually far less.
"""

from typing import Protocol

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import back_project, project
from stvla_ros.sim.environment import Observation

# A point is visible where the picture shows its body at its depth. On slanted surfaces, depth changes within one pixel
# by more than its resolution. Parts of one body that hide each other are further apart than this.
DEPTH_TOLERANCE = 0.005  # metres


class Bodies(Protocol):
    """The facts about the bodies in a picture, from ManiSkillEnvironment or a recorded episode."""

    @property
    def segmentation(self) -> np.ndarray: ...

    def body_name(self, body: int) -> str | None: ...

    def base_from_body(self, body: int) -> np.ndarray: ...


class PointTrackRecorder:
    """Follows points through the pictures of one episode. :meth:`start` begins anew.

    :param environment: environment that renders.
    """

    def __init__(self, environment: Bodies) -> None:
        self._environment = environment
        self._start = np.zeros((0, 2))
        self._body = np.zeros(0, dtype=int)
        self._in_body = np.zeros((0, 3))
        self._names: dict[int, str | None] = {}

    def start(self, points: np.ndarray, observation: Observation) -> None:
        """Choose the points to follow.

        :param points: (N, 2) x and y in pixels of ``observation.rgb``.
        :param observation: newest observation of the environment.
        :raises InputError: for another shape, points outside the picture, or an environment that does not render.
        """
        points = np.asarray(points, dtype=np.float64)
        height, width = observation.depth.shape
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"points: expected shape (N, 2), got {points.shape}")
        if observation.depth.size == 0:
            raise InputError("points: the environment does not render, expected render=True")
        if not _inside(points, width, height).all():
            raise InputError(f"points: expected x in 0..{width - 1} and y in 0..{height - 1}")
        column, row = np.rint(points).astype(int).T
        depth = observation.depth[row, column] / 1000.0 + 0.0005  # the middle of the truncated millimetre
        in_base = _transform(observation.base_from_camera, back_project(points, depth, observation.intrinsics))
        self._start, self._body = points, self._environment.segmentation[row, column].astype(int)
        self._names = {body: self._environment.body_name(body) for body in np.unique(self._body).tolist()}
        self._in_body = np.full_like(in_base, np.nan)
        for body, own in self._moving():
            self._in_body[own] = _transform(np.linalg.inv(self._environment.base_from_body(body)), in_base[own])

    @property
    def body_names(self) -> list[str | None]:
        """(N,) link or object that each point is on; None on the photograph and on nothing."""
        return [self._names[body] for body in self._body.tolist()]

    def observe(self, observation: Observation) -> tuple[np.ndarray, np.ndarray]:
        """The present places of the points.

        :param observation: newest observation of the environment.
        :returns: (N, 2) float32 x and y in pixels, NaN behind the camera; and (N,) bool, whether each is seen there.
        """
        camera_from_base = np.linalg.inv(observation.base_from_camera)
        in_camera = np.full_like(self._in_body, np.nan)
        for body, own in self._moving():
            in_camera[own] = _transform(camera_from_base @ self._environment.base_from_body(body), self._in_body[own])
        on_background = np.isnan(self._in_body[:, 0])
        xy = np.where(on_background[:, None], self._start, project(in_camera, observation.intrinsics))
        body_is_seen = self._body_is_seen(xy, in_camera[:, 2], observation.depth)
        return xy.astype(np.float32), np.where(on_background, self._background_is_seen(), body_is_seen)

    def _moving(self) -> list[tuple[int, np.ndarray]]:
        """The bodies that carry points, each with the (N,) mask of its points."""
        return [(body, self._body == body) for body, name in self._names.items() if name is not None]

    def _background_is_seen(self) -> np.ndarray:
        shown = self._environment.segmentation
        bodies = np.unique(shown)
        background = bodies[[self._environment.body_name(body) is None for body in bodies.tolist()]]
        column, row = np.rint(self._start).astype(int).T
        return np.isin(shown[row, column], background)

    def _body_is_seen(self, xy: np.ndarray, depth: np.ndarray, shown_depth: np.ndarray) -> np.ndarray:
        height, width = shown_depth.shape
        seen = np.zeros(len(xy), dtype=bool)
        inside = _inside(xy, width, height)
        # Any of the pixels around it counts: on an outline the nearest one may show the background.
        for round_x in (np.floor, np.ceil):
            for round_y in (np.floor, np.ceil):
                column, row = round_x(xy[inside, 0]).astype(int), round_y(xy[inside, 1]).astype(int)
                near = np.abs(shown_depth[row, column] / 1000.0 - depth[inside]) <= DEPTH_TOLERANCE
                seen[inside] |= near & (self._environment.segmentation[row, column] == self._body[inside])
        return seen


def _inside(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """(...) bool for (..., 2) pixels; False for NaN."""
    return np.all((points >= 0) & (points <= [width - 1, height - 1]), axis=-1)


def _transform(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., 3) points through a (4, 4) pose."""
    return points @ pose[:3, :3].T + pose[:3, 3]
