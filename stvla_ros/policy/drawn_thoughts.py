"""Draws a policy's thoughts about an observation into its picture, for people."""

from collections.abc import Mapping

import numpy as np

from stvla_ros.perception.coloured_depth import colour_depth, depth_range
from stvla_ros.perception.overlay import draw_boxes, draw_inset, draw_label, draw_points, trace_colour
from stvla_ros.policy.base import ANSWER, MAIN_CAMERA
from stvla_ros.policy.thoughts import Boxes, Points, PredictedPicture, Thought


def draw_thoughts(rgb: np.ndarray, thoughts: Mapping[str, Thought], camera: str = MAIN_CAMERA) -> np.ndarray:
    """Boxes and points in place, predicted pictures in the upper right corner, text from the bottom upwards. Of an
    answer the words are drawn only where nothing of it could be drawn in place.

    :param rgb: (H, W, 3) uint8, the camera's picture; it stays unchanged.
    :param thoughts: thoughts by name; boxes and points are drawn only if they belong to this camera's picture.
    :param camera: name of the camera.
    :returns: new (H, W, 3) uint8 rgb.
    """
    drawn, insets, lines = rgb.copy(), 0, []
    has_marks = any(isinstance(thought, Boxes | Points) for thought in thoughts.values())
    for number, (name, thought) in enumerate(thoughts.items()):
        colour = trace_colour(number)
        if isinstance(thought, str):
            if name == ANSWER and has_marks:
                continue
            lines += [(f"{name}: {line}", colour) for line in thought.splitlines() if line.strip()]
        elif isinstance(thought, PredictedPicture):
            for picture in _pictures(thought):
                draw_inset(drawn, picture, insets, f"{name} +{thought.ahead_s:g} s")
                insets += 1
        elif thought.camera == camera:
            labels = thought.labels or (name,) + ("",) * (len(_places(thought)) - 1)
            if isinstance(thought, Boxes):
                draw_boxes(drawn, thought.corners, labels, colour)
            else:
                draw_points(drawn, thought.places, labels, colour, thought.is_path)
    bottom, step = rgb.shape[0] - 1, max(round(0.06 * rgb.shape[0]), 12)
    for number, (line, colour) in enumerate(reversed(lines)):
        draw_label(drawn, line, (0, bottom - number * step), colour)
    return drawn


def _places(thought: Boxes | Points) -> np.ndarray:
    return thought.corners if isinstance(thought, Boxes) else thought.places


def _pictures(thought: PredictedPicture) -> list[np.ndarray]:
    pictures = [] if thought.rgb is None else [thought.rgb]
    if thought.depth is not None:
        height, width = thought.depth.shape
        pictures.append(colour_depth(thought.depth, (width, height), depth_range(thought.depth), scale=False))
    return pictures
