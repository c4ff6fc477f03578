"""Results that a policy may give beside its actions: text, marks in a picture, predicted pictures."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True, eq=False)
class Boxes:
    """
    :param corners: (N, 4) corners x0, y0, x1, y1 in pixels of the camera's picture.
    :param labels: label of each box; empty for none.
    :param camera: name of the camera whose picture they are in.
    :raises InputError: for another shape, or numbers that are not finite.
    """

    corners: np.ndarray
    labels: tuple[str, ...] = ()
    camera: str = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "corners", _places("boxes", self.corners, 4, self.labels))


@dataclass(frozen=True, eq=False)
class Points:
    """
    :param places: (N, 2) places x, y in pixels of the camera's picture.
    :param labels: label of each point; empty for none.
    :param is_path: whether the points follow one another, as on the tool point's path.
    :param camera: name of the camera whose picture they are in.
    :raises InputError: for another shape, or numbers that are not finite.
    """

    places: np.ndarray
    labels: tuple[str, ...] = ()
    is_path: bool = False
    camera: str = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", _places("points", self.places, 2, self.labels))


@dataclass(frozen=True, eq=False)
class PredictedPicture:
    """
    :param rgb: (H, W, 3) uint8; None when only depth is predicted.
    :param depth: (H, W) float32 metres, 0 where unknown; None when only colours are predicted.
    :param ahead_s: time of the picture, seconds after the observation.
    :raises InputError: when there is neither, or one has another shape or type.
    """

    rgb: np.ndarray | None = None
    depth: np.ndarray | None = None
    ahead_s: float = 0.0

    def __post_init__(self) -> None:
        if self.rgb is None and self.depth is None:
            raise InputError("predicted picture: expected rgb or depth, got neither")
        if self.rgb is not None and not (self.rgb.dtype == np.uint8 and self.rgb.ndim == 3 and self.rgb.shape[2] == 3):
            raise InputError(f"predicted picture: expected rgb (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")
        if self.depth is not None and not (self.depth.dtype == np.float32 and self.depth.ndim == 2):
            raise InputError(
                f"predicted picture: expected depth (H, W) float32, got {self.depth.shape} {self.depth.dtype}"
            )


Thought = str | Boxes | Points | PredictedPicture


def _places(what: str, numbers: np.ndarray, columns: int, labels: tuple[str, ...]) -> np.ndarray:
    checked = np.asarray(numbers, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != columns or not np.isfinite(checked).all():
        raise InputError(f"{what}: expected finite numbers of shape (N, {columns}), got shape {checked.shape}")
    if labels and len(labels) != len(checked):
        raise InputError(f"{what}: expected {len(checked)} labels or none, got {len(labels)}")
    return checked
