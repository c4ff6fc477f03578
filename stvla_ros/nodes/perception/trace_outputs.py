"""The compositor's outputs: the traced depth, and for people overlay and markers, which are only made for
subscribers.
"""

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import ImageMarker, Marker, MarkerArray

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.camera_info import CameraInfoInput
from stvla_ros.nodes.kit.messages import array_to_image, seconds_to_duration
from stvla_ros.perception.compositor import traces_3d
from stvla_ros.perception.overlay import draw_traces, trace_colour
from stvla_ros.perception.types import Traces

MARKER_WIDTH_M = 0.004
# Markers of a stream that stopped vanish after this time.
MARKER_LIFETIME_S = 2.0


class TraceOutputs:
    """Publishers of ``traced_depth``, ``overlay``, ``trace_markers`` and ``trace_image_markers``. The 3D markers need
    intrinsics, which come through :attr:`camera_info`.

    :param vertex_depths: function that returns the depth of every vertex in metres; it is called only when somebody
        subscribes to markers.
    """

    def __init__(self, node: StvlaNode, vertex_depths: Callable[[Traces], np.ndarray]) -> None:
        self._node = node
        self._vertex_depths = vertex_depths
        self.camera_info = CameraInfoInput(node)
        self.traced_depth = node.create_publisher(Image, "traced_depth", RELIABLE_QOS)
        self._overlay = node.create_publisher(Image, "overlay", RELIABLE_QOS)
        self._markers = node.create_publisher(MarkerArray, "trace_markers", RELIABLE_QOS)
        self._image_markers = node.create_publisher(ImageMarker, "trace_image_markers", RELIABLE_QOS)

    def publish_for_people(self, rgb: np.ndarray, traces: Traces, header: Header) -> None:
        """Publish overlay and markers of one frame, each only if somebody subscribes to it."""
        if self._overlay.get_subscription_count():
            self._overlay.publish(array_to_image(draw_traces(rgb, traces), "rgb8", header))
        if self._image_markers.get_subscription_count():
            self._image_markers.publish(image_marker(traces, header))
        if self._markers.get_subscription_count() and (intrinsics := self._intrinsics(traces)) is not None:
            lines = traces_3d(traces, self._vertex_depths(traces), intrinsics)
            self._markers.publish(line_markers(lines, header))

    def _intrinsics(self, traces: Traces) -> np.ndarray | None:
        """The intrinsics. None if the received ones cannot be used: this is reported, and there are no markers."""
        try:
            return self.camera_info.intrinsics(traces.image_size)
        except InputError as error:
            self._node.reject("camera_info", str(error))
            return None


def image_marker(traces: Traces, header: Header) -> ImageMarker:
    """All traces as one list of 2D line segments in source-image pixels."""
    marker = ImageMarker(header=header, ns="traces", type=ImageMarker.LINE_LIST, action=ImageMarker.ADD, scale=2.0)
    marker.lifetime = seconds_to_duration(MARKER_LIFETIME_S)
    joined = traces.visible[:-1] & traces.visible[1:]
    for index, point_id in enumerate(traces.ids.tolist()):
        colour = _colour(point_id)
        for row in np.flatnonzero(joined[:, index]):
            for x, y in traces.points[row : row + 2, index].tolist():
                marker.points.append(Point(x=x, y=y))
                marker.outline_colors.append(colour)
    return marker


def line_markers(lines: dict[int, np.ndarray], header: Header) -> MarkerArray:
    """One line strip for each trace, in the camera's optical frame; the first marker clears those of the frame before.

    :param lines: lines by point id, (M, 3) metres.
    """
    array = MarkerArray(markers=[Marker(header=header, ns="traces", action=Marker.DELETEALL)])
    for point_id, vertices in lines.items():
        marker = Marker(header=header, ns="traces", id=point_id & 0x7FFFFFFF, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.pose.orientation.w = 1.0
        marker.scale.x = MARKER_WIDTH_M
        marker.color = _colour(point_id)
        marker.lifetime = seconds_to_duration(MARKER_LIFETIME_S)
        marker.points = [Point(x=x, y=y, z=z) for x, y, z in vertices.tolist()]
        array.markers.append(marker)
    return array


def _colour(point_id: int) -> ColorRGBA:
    red, green, blue = trace_colour(point_id)
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)
