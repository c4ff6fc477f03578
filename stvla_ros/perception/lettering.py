"""Text and its colours in pictures for people. Only ASCII: OpenCV's stroke fonts have nothing else."""

import cv2
import numpy as np

INK, FAINT, BACKGROUND = (236, 236, 240), (150, 152, 162), (22, 23, 28)
_FONT = cv2.FONT_HERSHEY_DUPLEX


def text_width(text: str, height: int) -> int:
    """Width in pixels of a text of this height in pixels."""
    return cv2.getTextSize(_ascii(text), _FONT, _font_scale(height), 1)[0][0]


def draw_text(
    picture: np.ndarray, text: str, baseline: tuple[int, int], height: int, colour: tuple[int, int, int]
) -> None:
    """Write into a picture.

    :param picture: (H, W, 3) uint8 rgb, changed in place.
    :param baseline: (x, y) of the text's lower left corner, pixels.
    :param height: height of the text, pixels.
    :param colour: colour of the text, rgb.
    """
    cv2.putText(picture, _ascii(text), baseline, _FONT, _font_scale(height), colour, 1, cv2.LINE_AA)


def _font_scale(height: int) -> float:
    return cv2.getFontScaleFromHeight(_FONT, max(height, 6), 1)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
