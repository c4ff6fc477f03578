"""Pictures for people: camera, coloured depth and overlay beside each other, with a caption."""

from dataclasses import dataclass

import cv2
import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.types import check_rgb

_FONT = cv2.FONT_HERSHEY_DUPLEX


_INK = (236, 236, 240)


_FAINT = (150, 152, 162)


_BACKGROUND = (22, 23, 28)


_UNKNOWN = (52, 54, 60)


# Far to near, rgb. Inferno: brightness alone tells near from far, also in print. A table, because applyColorMap takes
# milliseconds to build its own at every call.
_COLOURS = np.ascontiguousarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_INFERNO)[:, 0, ::-1])


OUTCOME_COLOURS = {"success": (92, 214, 128), "failure": (240, 100, 90)}


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """Nearest and farthest depth worth showing: percentiles 0.5 and 99.5 of the valid ones, metres.

    At least 5 cm apart; (0, 1) where no depth is valid.
    """
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if valid.size == 0:
        return 0.0, 1.0
    near, far = np.percentile(valid, [0.5, 99.5]).tolist()
    return near, max(far, near + 0.05)


class WideningRange:
    """Colour range of a video: as wide as any frame so far needed, so that nothing saturates and nothing flickers."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new video starts."""
        self._near_far: tuple[float, float] | None = None

    def update(self, depth: np.ndarray) -> tuple[float, float]:
        """
        :param depth: (H, W) float32 metres of the next frame, 0 or not finite where unknown.
        :returns: metres at the two ends of the colours, for ``colour_depth``.
        """
        if not (np.isfinite(depth) & (depth > 0)).any():
            return self._near_far or depth_range(depth)
        near, far = depth_range(depth)
        if self._near_far is not None:
            near, far = min(near, self._near_far[0]), max(far, self._near_far[1])
        self._near_far = (near, far)
        return near, far


def colour_depth(
    depth: np.ndarray, size: tuple[int, int], near_far: tuple[float, float] | None = None, scale: bool = True
) -> np.ndarray:
    """Depth in colours, near is bright and far is dark, unknown is grey.

    :param depth: (H, W) float32 metres, 0 or not finite where unknown.
    :param size: (width, height) of the picture; enlarged without smoothing, so that the true pixels are seen.
    :param near_far: metres at the ends of the colours; ``depth_range(depth)`` by default. Fix it for a video that
        does not flicker.
    :param scale: whether to draw the bar with metres into the lower right corner.
    :raises InputError: for another type or an empty range.
    """
    if depth.dtype != np.float32 or depth.ndim != 2 or depth.size == 0:
        raise InputError(
            f"depth: expected (height, width) float32 metres with at least one pixel, got {depth.shape} {depth.dtype}"
        )
    near, far = depth_range(depth) if near_far is None else near_far
    if not near < far:
        raise InputError(f"near_far: expected near < far in metres, got {near:g} and {far:g}")
    known = np.isfinite(depth) & (depth > 0)
    share = np.clip((far - np.where(known, depth, far)) / (far - near), 0, 1)
    colours = _COLOURS[np.round(255 * share).astype(np.uint8)]
    picture = cv2.resize(
        np.where(known[..., None], colours, np.array(_UNKNOWN, np.uint8)), size, interpolation=cv2.INTER_NEAREST_EXACT
    )
    return _with_scale(picture, near, far) if scale else picture


def _with_scale(picture: np.ndarray, near: float, far: float) -> np.ndarray:
    height, width = picture.shape[:2]
    unit = height / 360
    bar_height, bar_width, margin = round(0.32 * height), max(4, round(11 * unit)), round(12 * unit)
    text_height = round(10 * unit)
    text_width = round(6 * unit) + _text_width(f"{far:.2f} m", text_height)
    left, top = width - margin - bar_width - text_width, height - margin - bar_height
    box = (slice(max(top - margin, 0), height), slice(max(left - margin, 0), width))
    picture = picture.copy()
    picture[box] = (0.35 * picture[box] + 0.65 * np.array(_BACKGROUND)).astype(np.uint8)
    ramp = _COLOURS[np.linspace(255, 0, bar_height).astype(np.uint8)][:, None]
    picture[top : top + bar_height, left : left + bar_width] = ramp
    for share in (0.0, 0.5, 1.0):
        y = round(top + share * (bar_height - 1) + text_height / 2)
        _text(
            picture, f"{near + share * (far - near):.2f} m", (left + bar_width + round(6 * unit), y), text_height, _INK
        )
    return picture


@dataclass(frozen=True)
class Caption:
    """What the strip above the pictures says.

    :param instruction: what the robot was told.
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
    traced_depth: np.ndarray,
    overlay: np.ndarray,
    caption: Caption,
    panel_height: int = 360,
    near_far: tuple[float, float] | None = None,
) -> np.ndarray:
    """One frame that a person understands at a glance: camera | traced depth | overlay, below a caption.

    The square depth map is shown in the camera's shape, so that the three pictures line up.

    :param rgb: (H, W, 3) uint8, the camera's picture.
    :param traced_depth: (S, S) float32 metres.
    :param overlay: (H, W, 3) uint8, ``draw_traces(rgb, traces)``.
    :param panel_height: of each picture in pixels.
    :param near_far: as in ``colour_depth``.
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
        "traces on depth": colour_depth(traced_depth, size, near_far),
        "traces on camera: for people": cv2.resize(overlay, size, interpolation=cv2.INTER_AREA),
    }
    strip, titles = 2 * round(22 * unit), 2 * round(13 * unit)
    frame = np.empty((strip + titles + panel_height + gap, 3 * panel_width + 4 * gap, 3), np.uint8)
    frame[:] = _BACKGROUND
    for index, (title, panel) in enumerate(panels.items()):
        left = gap + index * (panel_width + gap)
        frame[strip + titles : strip + titles + panel_height, left : left + panel_width] = panel
        _text(frame, title, (left, strip + titles - round(8 * unit)), round(10 * unit), _FAINT)
    _draw_caption(frame, caption, strip, gap, unit)
    return frame


def _draw_caption(frame: np.ndarray, caption: Caption, strip: int, gap: int, unit: float) -> None:
    right, baseline = frame.shape[1] - gap, strip - round(12 * unit)
    small, large = round(13 * unit), round(17 * unit)
    step = "" if caption.step is None else f"step {caption.step}"
    for text, colour in (
        (caption.outcome, OUTCOME_COLOURS.get(caption.outcome, _INK)),
        (step, _INK),
        (caption.detail, _FAINT),
    ):
        if text:
            right -= _text_width(text, small)
            _text(frame, text, (right, baseline), small, colour)
            right -= round(22 * unit)
    room, instruction = right - gap, caption.instruction
    while instruction and _text_width(instruction, large) > room:
        instruction = instruction[:-1]
    if instruction != caption.instruction:
        instruction = instruction[:-3] + "..."
    _text(frame, instruction, (gap, baseline), large, _INK)


def _font_scale(height: int) -> float:
    return cv2.getFontScaleFromHeight(_FONT, max(height, 6), 1)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _text_width(text: str, height: int) -> int:
    return cv2.getTextSize(_ascii(text), _FONT, _font_scale(height), 1)[0][0]


def _text(picture: np.ndarray, text: str, baseline: tuple[int, int], height: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(picture, _ascii(text), baseline, _FONT, _font_scale(height), colour, 1, cv2.LINE_AA)
