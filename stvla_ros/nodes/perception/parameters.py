"""The perception stages' parameters: the same names and ranges in the separate nodes and in the fused one."""

from typing import Any

import numpy as np

from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.perception.compositor import FARTHEST_M, VARIANTS, CompositorConfig
from stvla_ros.perception.depth import DEPTH_ESTIMATORS
from stvla_ros.perception.frame_buffer import LARGEST_BUFFER, SMALLEST_BUFFER
from stvla_ros.perception.geometry import parse_pose
from stvla_ros.perception.moving_points import SelectionParameters
from stvla_ros.perception.spatial_traces import SpatialTracesConfig
from stvla_ros.perception.trackers import TRACKERS
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.settings import parse_mapping


def declare_tracking(node: StvlaNode) -> TrackingConfig:
    """Declare the tracker's parameters and read its configuration. :raises InputError: naming the bad parameter."""
    default, selection = TrackingConfig(), SelectionParameters()
    return TrackingConfig(
        tracker=node.parameter("tracker", default.tracker, "tracker backend", choices=TRACKERS.names()),
        buffer=node.parameter(
            "buffer",
            default.buffer,
            "frames in the trace window (paper: 7, 15, 30)",
            low=SMALLEST_BUFFER,
            high=LARGEST_BUFFER,
        ),
        warm_up_frames=node.parameter(
            "warm_up_frames",
            default.warm_up_frames,
            "frames at the start of an episode without traces",
            low=0,
            high=1000,
        ),
        adaptive=node.parameter("adaptive", default.adaptive, "stretch the window while motion is slow"),
        selection=SelectionParameters(
            max_traces=node.parameter("max_traces", selection.max_traces, "most traces at a time", low=1, high=1000),
            min_extent=node.parameter(
                "min_extent",
                selection.min_extent,
                "least motion of a trace, share of the image diagonal",
                low=1e-4,
                high=0.99,
            ),
            max_wander=node.parameter(
                "max_wander",
                selection.max_wander,
                "longest path of a trace as a multiple of its extent",
                low=1.0,
                high=1e6,
            ),
            min_spacing=node.parameter(
                "min_spacing",
                selection.min_spacing,
                "least distance of two traces, share of the image diagonal",
                low=0.0,
                high=0.99,
            ),
            min_difference=node.parameter(
                "min_difference",
                selection.min_difference,
                "least difference of two traces' motions, share of the larger: above 0, one trace a rigid body",
                low=0.0,
                high=0.99,
            ),
        ),
        tracker_parameters=_mapping(node, "tracker_parameters", "the tracker backend's own parameters"),
    )


def declare_compositor(node: StvlaNode) -> CompositorConfig:
    """Declare the compositor's parameters and read its configuration. :raises InputError: naming the bad parameter."""
    default = CompositorConfig()
    return CompositorConfig(
        variant=node.parameter("variant", default.variant, "depth at which traces are drawn", choices=VARIANTS),
        size=node.parameter("size", default.size, "side of the traced depth map, pixels", low=8, high=4096),
        line_width=node.parameter("line_width", default.line_width, "odd, pixels of the map", low=1, high=31),
        min_vertex_distance=node.parameter(
            "min_vertex_distance",
            default.min_vertex_distance,
            "thinning: least distance of vertices, pixels of the map",
            low=0.0,
            high=4096.0,
        ),
        near_depth=node.parameter(
            "near_depth",
            default.near_depth,
            "variant C: depth of the traces in metres, in place of the closest object's; 0: the closest object's",
            low=0.0,
            high=FARTHEST_M,
        ),
        ignore_robot=node.parameter(
            "ignore_robot", default.ignore_robot, "variant C: the robot's own links do not count as objects"
        ),
        age_step=node.parameter(
            "age_step",
            default.age_step,
            "metres by which a vertex is drawn farther for each second of its age",
            low=0.0,
            high=FARTHEST_M,
        ),
        closest_percentile=node.parameter(
            "closest_percentile",
            default.closest_percentile,
            "variant C: percentile that counts as the closest object",
            low=0.0,
            high=50.0,
        ),
    )


def declare_depth(node: StvlaNode) -> tuple[str, dict[str, Any]]:
    """Declare the depth stage's parameters: backend name and its own parameters. :raises InputError: naming the bad
    parameter.
    """
    name = node.parameter("depth", SpatialTracesConfig.depth, "depth backend", choices=DEPTH_ESTIMATORS.names())
    return name, _mapping(node, "depth_parameters", "the depth backend's own parameters")


def declare_spatial_traces(node: StvlaNode) -> SpatialTracesConfig:
    """All of the above, for the fused node."""
    depth, parameters = declare_depth(node)
    return SpatialTracesConfig(
        tracking=declare_tracking(node), depth=depth, depth_parameters=parameters, compositor=declare_compositor(node)
    )


def declare_camera_pose(node: StvlaNode) -> np.ndarray | None:
    """Declare the camera's pose, for stages that need the robot; None: tf_static gives it.

    :raises InputError: for a text that is no pose.
    """
    text = node.parameter(
        "camera_pose",
        "",
        "pose of the camera's optical frame in the URDF's first link, for stages that need the robot: x y z (metres) "
        "roll pitch yaw (radians, fixed axes); empty: from tf_static",
    )
    return parse_pose("parameter camera_pose", text) if text else None


def declare_camera_parent(node: StvlaNode) -> str:
    """Declare the frame in which ``camera_pose`` is published; empty: it is not."""
    return node.parameter(
        "camera_parent", "", "frame of the robot in which camera_pose is published on tf_static; empty: it is not"
    )


def _mapping(node: StvlaNode, name: str, description: str) -> dict[str, Any]:
    text = node.parameter(name, "{}", f"{description}, as a YAML mapping like '{{key: value}}'")
    return parse_mapping(f"parameter {name}", text or "{}")
