"""Pictures for people: camera, coloured depth and overlay beside each other, with a caption."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.coloured_depth import colour_depth
from stvla_ros.perception.lettering import BACKGROUND, FAINT, INK, draw_text, text_width
from stvla_ros.perception.types import check_rgb

OUTCOME_COLOURS = {"success": (92, 214, 128), "failure": (240, 100, 90)}


@dataclass(frozen=True)
class Caption:
    """The texts of the strip above the pictures.

    :param instruction: instruction of the robot.
    :param detail: small text on the right, e.g. task and variant.
    :param step: control step of the episode.
    :param outcome: empty while the episode runs; ``success`` and ``failure`` have colours of their own.
    """

    instruction: str
    detail: str = ""
    step: int | None = None
    outcome: str = ""


def side_by_side(
    rgb: np.ndarray,
    traced_depth: np.ndarray | None,
    overlay: np.ndarray,
    caption: Caption,
    panel_height: int = 360,
    near_far: tuple[float, float] | None = None,
    further: Mapping[str, np.ndarray] | None = None,
) -> np.ndarray:
    """One frame that a person understands at a glance: camera | traced depth | overlay | further pictures, below a
    caption.

    The square depth map is shown in the camera's shape, so that the three pictures line up.

    :param rgb: (H, W, 3) uint8, the camera's picture.
    :param traced_depth: (S, S) float32 metres; None leaves this picture out, because the depth is unknown.
    :param overlay: (H, W, 3) uint8, ``draw_traces(rgb, traces)``.
    :param panel_height: height of each picture in pixels.
    :param near_far: metres at the ends of the colours, see ``colour_depth``.
    :param further: (h, w, 3) uint8 rgb pictures by title, shown in the camera's shape.
    :returns: uint8 rgb with even sides (H.264 wants them).
    :raises InputError: for pictures that cannot be used or have different sizes.
    """
    check_rgb(rgb)
    if check_rgb(overlay).shape != rgb.shape:
        raise InputError(f"overlay: expected the image's shape {rgb.shape}, got {overlay.shape}")
    panel_height -= panel_height % 2
    panel_width = 2 * round(rgb.shape[1] * panel_height / rgb.shape[0] / 2)
    size, gap, unit = (panel_width, panel_height), 2 * round(panel_height / 90), panel_height / 360
    panels = {
        "camera": cv2.resize(rgb, size, interpolation=cv2.INTER_AREA),
        **({} if traced_depth is None else {"traces on depth": colour_depth(traced_depth, size, near_far)}),
        "traces on camera: for people": cv2.resize(overlay, size, interpolation=cv2.INTER_AREA),
        **{title: cv2.resize(picture, size) for title, picture in (further or {}).items()},
    }
    strip, titles = 2 * round(22 * unit), 2 * round(13 * unit)
    frame = np.empty((strip + titles + panel_height + gap, len(panels) * (panel_width + gap) + gap, 3), np.uint8)
    frame[:] = BACKGROUND
    for index, (title, panel) in enumerate(panels.items()):
        left = gap + index * (panel_width + gap)
        frame[strip + titles : strip + titles + panel_height, left : left + panel_width] = panel
        draw_text(frame, title, (left, strip + titles - round(8 * unit)), round(10 * unit), FAINT)
    _draw_caption(frame, caption, strip, gap, unit)
    return frame


def _draw_caption(frame: np.ndarray, caption: Caption, strip: int, gap: int, unit: float) -> None:
    right, baseline = frame.shape[1] - gap, strip - round(12 * unit)
    small, large = round(13 * unit), round(17 * unit)
    step = "" if caption.step is None else f"step {caption.step}"
    for text, colour in (
        (caption.outcome, OUTCOME_COLOURS.get(caption.outcome, INK)),
        (step, INK),
        (caption.detail, FAINT),
    ):
        if text:
            right -= text_width(text, small)
            draw_text(frame, text, (right, baseline), small, colour)
            right -= round(22 * unit)
    room, instruction = right - gap, caption.instruction
    while instruction and text_width(instruction, large) > room:
        instruction = instruction[:-1]
    if instruction != caption.instruction:
        instruction = instruction[:-3] + "..."
    draw_text(frame, instruction, (gap, baseline), large, INK)
