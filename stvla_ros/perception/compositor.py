"""Draws point traces onto the metric depth map: the policy's picture of the past.

Variants (our definitions; the paper's text for B and the exact rule of C are not available):

* A: a whole trace has the depth at which its newest point lies now (the manipulator's own depth).
* B: each vertex has the depth that its point had when it was seen there, linear in between.
* C: every trace pixel has the depth of the closest object in the frame, a low percentile of the valid depths. The arm's
  own upper links are often the closest and come and go, so this depth jumps. ``ignore_robot`` leaves the links out;
  ``near_depth`` replaces the closest object's depth by a fixed one.

``age_step`` codes a stroke's age in its depth, with every variant: older strokes are farther. Where a trace crosses
itself, the newer stroke is therefore visible.

Rules
* The map is ``size`` x ``size``, with the two axes scaled independently, as SpatialVLA scales its pictures. A map pixel
  takes the one source depth under its centre (nearest neighbour): an average across an edge would be a surface that is
  not there, and unknown (0) must not blend in.
* A line joins two consecutive vertices that were both seen. A vertex that was not seen, or lies outside the picture,
  breaks the line.
* The brush is a disc whose depth is that of its centre; where imprints overlap, of one trace or of two, the nearest
  depth wins. So the result does not depend on the order of the traces. (Within B a slope can thereby shift along the
  line by up to half a line width.)
* ``point_depths.py`` gives a point's depth.
* Unknown depths: A takes the newest depth known for that trace. B interpolates over the frames of the trace whose depth
  is known, and extends the outermost ones. A trace without any known depth (C: a frame without any) is not drawn. The
  map never contains NaN: unknown is 0.

Line width: SpatialVLA next averages the map over 7x7 cells (224 -> 32, area). A line of odd width w <= 7 that crosses
the cells at any offset fills at least (w + 1) / 2 of the 7 columns of some cell, so (w + 1) / 14 of its depth step
survives: 1/7 for w = 1, 3/7 for the default 5. Thicker lines survive better but hide more of small objects, which the
paper reports as a failure.

Cost, for 100 traces of 30 vertices (2900 segments, about 10^4 centre pixels): 5*10^4 gathers for the resize, a few
passes over 10^4 samples, one scatter of 10^4 minima, one 5x5 minimum filter over 5*10^4 pixels; well under 2 ms.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import without_invalid
from stvla_ros.perception.geometry import back_project, check_size, resize_points
from stvla_ros.perception.point_depths import PointDepths, seen_inside
from stvla_ros.perception.rasterize import lowest, segments, z_buffer
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.perception.types import Traces

Variant = Literal["A", "B", "C"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
FARTHEST_M = 100.0
# Only every so many rows and columns a pixel is tested for lying on the robot: testing all pixels takes 16 times as
# long.
_ROBOT_STRIDE = 4
# Metres outside of a link's hull up to which a reading still counts as on the link: depth is noisy, and a URDF lacks
# covers.
_ROBOT_MARGIN_M = 0.02


@dataclass(frozen=True)
class CompositorConfig:
    """Options of drawing traces.

    :param variant: ``A``, ``B`` or ``C``, see above.
    :param size: side of the square map in pixels.
    :param line_width: width of a line, an odd number of pixels of the map.
    :param min_vertex_distance: distance for thinning, pixels of the map: a vertex nearer than this to the last drawn
        one is left out, except at the end of a line. 0 draws every vertex.
    :param depth_window: side of the window in which a point's depth is looked up, an odd number of pixels of the map; 1
        takes the pixel itself.
    :param closest_percentile: share (percent) of the valid pixels that may be nearer than "the closest object" of
        variant C: nearer ones are taken for stray readings.
    :param near_depth: metres at which variant C draws traces instead of the closest object's depth; 0 for the closest
        object's.
    :param ignore_robot: whether variant C leaves the robot's own links out of the objects. ``step`` then needs to know
        where they are.
    :param age_step: metres by which a vertex is drawn farther for each second of its age.
    :raises InputError: for a value out of range.
    """

    variant: Variant = "C"
    size: int = 224
    line_width: int = 5
    min_vertex_distance: float = 0.0
    depth_window: int = 3
    closest_percentile: float = 1.0
    near_depth: float = 0.0
    ignore_robot: bool = False
    age_step: float = 0.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise InputError(f"variant: expected one of {', '.join(VARIANTS)}, got {self.variant!r}")
        if not 8 <= self.size <= 4096:
            raise InputError(f"size: expected 8 to 4096 pixels, got {self.size}")
        if self.line_width % 2 != 1 or not 1 <= self.line_width <= 31:
            raise InputError(f"line_width: expected an odd number of pixels from 1 to 31, got {self.line_width}")
        if not 0 <= self.min_vertex_distance <= self.size:
            raise InputError(f"min_vertex_distance: expected 0 to {self.size} pixels, got {self.min_vertex_distance}")
        if self.depth_window % 2 != 1 or not 1 <= self.depth_window <= 15:
            raise InputError(f"depth_window: expected an odd number of pixels from 1 to 15, got {self.depth_window}")
        if not 0 <= self.closest_percentile <= 50:
            raise InputError(f"closest_percentile: expected 0 to 50 percent, got {self.closest_percentile}")
        for name, most in (("near_depth", FARTHEST_M), ("age_step", FARTHEST_M)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name}: expected 0 to {most:g} metres, got {getattr(self, name)}")
        if self.ignore_robot and (self.variant != "C" or self.near_depth):
            raise InputError(
                f"ignore_robot: expected variant C without a near_depth, got {self.variant} and {self.near_depth:g}"
            )


def resize_depth(depth: np.ndarray, size: int) -> np.ndarray:
    """Nearest-neighbour resize that keeps pixel centres in place.

    :param depth: (H, W) float32 metres, unknown as REP-118 says.
    :returns: new (size, size) float32 metres, 0 where unknown.
    :raises InputError: for another type or shape.
    """
    if depth.dtype != np.float32 or depth.ndim != 2 or depth.size == 0:
        raise InputError(
            f"depth: expected (height, width) float32 metres with at least one pixel, got {depth.shape} {depth.dtype}"
        )
    rows, columns = (((np.arange(size) + 0.5) * (side / size)).astype(np.intp) for side in depth.shape)
    return without_invalid(depth[rows[:, None], columns])


def closest_depth(depth: np.ndarray, percentile: float) -> float:
    """Depth of the closest object: the given percentile of the valid (positive) depths, in metres; 0 without any.

    Always a depth that occurs, so that no surface is invented between two others.
    """
    valid = depth[depth > 0]
    if valid.size == 0:
        return 0.0
    rank = int(percentile / 100 * (valid.size - 1))
    return float(np.partition(valid, rank)[rank])


def without_robot(depth_map: np.ndarray, robot: RobotView, image_size: tuple[int, int]) -> np.ndarray:
    """The depths that do not lie on a link of the robot.

    :param depth_map: (S, S) float32 metres, 0 where unknown.
    :param image_size: (width, height) of the picture that the map is registered to.
    :returns: (s, s) float32 metres of a sixteenth of the pixels, 0 where unknown or on the robot.
    """
    begin, size = _ROBOT_STRIDE // 2, depth_map.shape[0]
    depths = depth_map[begin::_ROBOT_STRIDE, begin::_ROBOT_STRIDE]
    v, u = np.indices(depths.shape) * _ROBOT_STRIDE + begin
    pixels = resize_points(np.stack([u, v], axis=-1).astype(np.float32), (size, size), image_size)
    known = depths > 0
    points = back_project(pixels[known], depths[known], robot.intrinsics)
    kept = np.zeros_like(depths)
    kept[known] = np.where(robot.carriers(points, _ROBOT_MARGIN_M) < 0, depths[known], np.float32(0))
    return kept


class Compositor:
    """Draws the traces of one episode, frame by frame. It remembers the depth maps of all frames that the traces reach
    back to (variant B needs them).

    Same inputs since the last ``reset``, same output, bit for bit. Not thread-safe.
    """

    def __init__(self, config: CompositorConfig = CompositorConfig()) -> None:
        self.config = config
        radius = config.line_width / 2
        offsets = np.arange(config.line_width) - config.line_width // 2
        self._brush = (np.hypot(offsets[:, None], offsets) <= radius).astype(np.uint8)
        self._point_depths = PointDepths(config.size, config.depth_window)

    def reset(self) -> None:
        """A new episode starts: forget all depth maps."""
        self._point_depths.reset()

    @property
    def needs_robot(self) -> bool:
        """Whether :meth:`step` needs to know where the robot is."""
        return self.config.ignore_robot

    def step(self, traces: Traces, depth: np.ndarray, robot: RobotView | None = None) -> np.ndarray:
        """Draw the traces onto the depth of their newest frame.

        :param traces: traces in pixels of the picture that ``depth`` is registered to.
        :param depth: (H, W) float32 metres of the frame ``traces.stamp``, unknown as REP-118 says.
        :param robot: position of the robot in that picture; only needed with ``ignore_robot``.
        :returns: (size, size) float32 metres, 0 where unknown.
        :raises InputError: when the depth has another size than the traces' picture, or another type; when the traces'
            shapes do not match; when the robot's position is needed and missing.
        """
        check_traces(traces)
        if self.needs_robot and robot is None:
            raise InputError("ignore_robot: expected the robot's position in the picture, got none")
        if depth.shape != traces.image_size[::-1]:
            raise InputError(
                f"depth: expected the traced image's size {traces.image_size[0]}x{traces.image_size[1]}, "
                f"got shape {depth.shape}"
            )
        depth_map = resize_depth(depth, self.config.size)
        self._point_depths.remember(traces, depth_map)

        size, to_size = self.config.size, (self.config.size, self.config.size)
        points = resize_points(traces.points, traces.image_size, to_size)
        seen = seen_inside(traces)
        starts, ends, columns = segments(points, seen, self.config.min_vertex_distance)
        if not len(starts):
            return depth_map
        depths = self._aged(traces, self._drawing_depths(traces, depth_map, robot))
        z_start, z_end = depths[starts, columns], depths[ends, columns]
        drawn = z_start > 0
        lines = z_buffer(
            points[starts, columns][drawn], points[ends, columns][drawn], z_start[drawn], z_end[drawn], size
        )
        if self.config.line_width > 1:
            lines = lowest(lines, self._brush)
        return np.where(np.isfinite(lines), lines, depth_map)

    def vertex_depths(self, traces: Traces) -> np.ndarray:
        """Depth of each vertex when its point was seen there, from the maps of the frames stepped through so far.

        :returns: (T, N) float32 metres; 0 where the vertex was not seen, its frame was not stepped through or its
            depth is unknown.
        """
        return self._point_depths.of(traces)

    def _drawing_depths(self, traces: Traces, depth_map: np.ndarray, robot: RobotView | None) -> np.ndarray:
        """(T, N) float32 metres at which each vertex is drawn; a trace that is not drawn is all 0."""
        if self.config.variant == "C":
            closest = self.config.near_depth
            if not closest:
                if self.needs_robot and robot is not None:
                    depth_map = without_robot(depth_map, robot, traces.image_size)
                closest = closest_depth(depth_map, self.config.closest_percentile)
            return np.full(traces.visible.shape, closest, np.float32)
        depths = self._point_depths.of(traces)
        if self.config.variant == "B":
            return interpolate_columns(depths)
        newest_known = len(depths) - 1 - np.argmax(depths[::-1] > 0, axis=0)
        return np.broadcast_to(depths[newest_known, np.arange(depths.shape[1])], depths.shape)

    def _aged(self, traces: Traces, depths: np.ndarray) -> np.ndarray:
        """The drawing depths (T, N), with older vertices farther away; 0 stays 0."""
        if not self.config.age_step:
            return depths
        age_s = (traces.stamp - traces.frame_stamps) * 1e-9
        farther = (self.config.age_step * age_s).astype(np.float32)[:, None]
        return np.where(depths > 0, depths + farther, depths)


def check_traces(traces: Traces) -> None:
    """:raises InputError: when the arrays' shapes do not belong together or the stamps do not increase."""
    frames, count = traces.visible.shape if traces.visible.ndim == 2 else (0, 0)
    check_size(traces.image_size, "traces image_size")
    if frames < 1 or traces.points.shape != (frames, count, 2) or traces.ids.shape != (count,):
        raise InputError(
            f"traces: expected points (T, N, 2), visible (T, N) and ids (N,) with T >= 1, got {traces.points.shape}, "
            f"{traces.visible.shape} and {traces.ids.shape}"
        )
    if traces.frame_stamps.shape != (frames,) or (np.diff(traces.frame_stamps) <= 0).any():
        raise InputError(
            f"traces frame_stamps: expected {frames} increasing stamps, got {traces.frame_stamps.tolist()}"
        )


def interpolate_columns(depths: np.ndarray) -> np.ndarray:
    """Fill the zeros of each column: linearly over the rows between known (positive) entries, with the nearest known
    entry outside of them.

    :param depths: (T, N) float32.
    :returns: (T, N) float32; columns without any known entry stay 0.
    """
    rows = np.arange(len(depths))[:, None]
    known = depths > 0
    before = np.maximum.accumulate(np.where(known, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, rows, len(depths))[::-1], axis=0)[::-1]
    before, after = np.where(before < 0, after, before), np.where(after == len(depths), before, after)
    has_any = known.any(axis=0)
    before, after = np.where(has_any, before, 0), np.where(has_any, after, 0)
    low, high = np.take_along_axis(depths, before, axis=0), np.take_along_axis(depths, after, axis=0)
    share = ((rows - before) / np.maximum(after - before, 1)).astype(np.float32)
    return low + share * (high - low)


def traces_3d(traces: Traces, vertex_depths: np.ndarray, intrinsics: np.ndarray) -> dict[int, np.ndarray]:
    """Traces as lines in space: each vertex at the depth at which it was seen.

    :param vertex_depths: (T, N) float32 metres, 0 where unknown: ``Compositor.vertex_depths``.
    :param intrinsics: (3, 3) in pixels of the traces' picture.
    :returns: lines by point id, (M, 3) float64 metres in the camera's optical frame, oldest first. Vertices without
        depth are dropped, and traces of fewer than 2 vertices. The camera counts as fixed: all vertices are in the
        frame of its present pose.
    :raises InputError: for bad intrinsics or shapes that do not match.
    """
    space = back_project(traces.points, vertex_depths, intrinsics)
    known = np.isfinite(space).all(axis=-1)
    return {
        int(point_id): space[known[:, n], n] for n, point_id in enumerate(traces.ids.tolist()) if known[:, n].sum() >= 2
    }
