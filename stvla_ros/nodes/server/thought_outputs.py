"""Publishes the policy's thoughts beside its actions, for people and for other nodes; only made for subscribers."""

from collections.abc import Mapping

import numpy as np
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, String
from visualization_msgs.msg import ImageMarker

from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import array_to_image, make_header, seconds_to_duration
from stvla_ros.perception.overlay import trace_colour
from stvla_ros.policy.base import MAIN_CAMERA, PolicyInput
from stvla_ros.policy.drawn_thoughts import draw_thoughts
from stvla_ros.policy.thoughts import Boxes, Points, PredictedPicture, Thought

# Marks of a policy that stopped vanish after this time.
MARKER_LIFETIME_S = 2.0


class ThoughtOutputs:
    """Publishers of ``thoughts``, ``thought_marks``, ``thought_text``, ``predicted_image`` and ``predicted_depth``. All
    have the observation's stamp; the frame is the name of the camera whose pixels are meant.
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        self._drawn = node.create_publisher(Image, "thoughts", RELIABLE_QOS)
        self._marks = node.create_publisher(ImageMarker, "thought_marks", RELIABLE_QOS)
        self._text = node.create_publisher(String, "thought_text", RELIABLE_QOS)
        self._image = node.create_publisher(Image, "predicted_image", RELIABLE_QOS)
        self._depth = node.create_publisher(Image, "predicted_depth", RELIABLE_QOS)

    def publish(self, observation: PolicyInput, thoughts: Mapping[str, Thought]) -> None:
        """Publish the thoughts about an observation, each kind only if somebody subscribes to it. Thoughts that cannot
        be shown are reported, and stop nothing else, because a policy is a plug-in.
        """
        try:
            self._publish(observation, thoughts)
        except Exception as error:
            self._node.survive(error)

    def _publish(self, observation: PolicyInput, thoughts: Mapping[str, Thought]) -> None:
        known = {name: thought for name, thought in thoughts.items() if self._is_known(name, thought)}
        if not known:
            return
        header = make_header(observation.stamp, MAIN_CAMERA)
        if self._drawn.get_subscription_count():
            self._drawn.publish(array_to_image(draw_thoughts(observation.picture.rgb, known), "rgb8", header))
        if self._text.get_subscription_count():
            texts = [f"{name}: {thought}" for name, thought in known.items() if isinstance(thought, str)]
            if texts:
                self._text.publish(String(data="\n".join(texts)))
        for number, (name, thought) in enumerate(known.items()):
            if isinstance(thought, Boxes | Points) and self._marks.get_subscription_count():
                self._marks.publish(_marker(observation.stamp, number, name, thought))
            if isinstance(thought, PredictedPicture):
                if thought.rgb is not None and self._image.get_subscription_count():
                    self._image.publish(array_to_image(thought.rgb, "rgb8", header))
                if thought.depth is not None and self._depth.get_subscription_count():
                    self._depth.publish(array_to_image(thought.depth, "32FC1", header))

    def _is_known(self, name: str, thought: Thought) -> bool:
        if isinstance(thought, Thought):
            return True
        error = InputError(
            f"thought {name}: expected text, Boxes, Points or a PredictedPicture, got {type(thought).__name__}"
        )
        self._node.reject("thought", str(error))
        return False


def _marker(stamp: int, number: int, name: str, thought: Boxes | Points) -> ImageMarker:
    """Boxes as four sides each, a path as one line, other points as points; in pixels of the camera's picture."""
    marker = ImageMarker(
        header=make_header(stamp, thought.camera), ns=name, id=number, action=ImageMarker.ADD, scale=2.0
    )
    marker.lifetime = seconds_to_duration(MARKER_LIFETIME_S)
    red, green, blue = trace_colour(number)
    marker.outline_color = ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=1.0)
    if isinstance(thought, Boxes):
        marker.type = ImageMarker.LINE_LIST
        x0, y0, x1, y1 = thought.corners.T
        # Each corner ends one side and begins the next.
        corners = np.stack([np.stack(pair, axis=-1) for pair in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))], axis=1)
        places = corners[:, [0, 1, 1, 2, 2, 3, 3, 0]].reshape(-1, 2)
    else:
        marker.type = ImageMarker.LINE_STRIP if thought.is_path else ImageMarker.POINTS
        places = thought.places
    marker.points = [Point(x=x, y=y) for x, y in places.tolist()]
    return marker
