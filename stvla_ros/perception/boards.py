"""Boards that calibrate a camera: their picture for a printer, and their corners in a camera's picture."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from stvla_ros.errors import InputError

_ARUCO: Any = getattr(cv2, "aruco", None)
DICTIONARIES = {
    name.removeprefix("DICT_"): getattr(_ARUCO, name)
    for name in sorted(dir(_ARUCO))
    if re.fullmatch(r"DICT_(\dX\d_\d+|APRILTAG_\d+h\d+)", name)
}
"""OpenCV's predefined dictionaries of markers by their names, without those of other marker systems."""
# A corner of a ChArUco board says little by itself; of these, not on one line, a pose follows with some to spare.
_FEWEST_CORNERS = 6
# Markers of a strange dictionary may be misread; several of one are none.
_FEWEST_STRANGERS = 2
# Black bits around a marker, which belong to it.
_BORDER_BITS = 1


@dataclass(frozen=True)
class Board:
    """A flat board. Its frame: origin at a corner, x along the columns, y along the rows, z into the board.

    :param kind: ``charuco``, a chessboard with markers in its white squares; ``apriltag``, one marker alone.
    :param columns: number of a chessboard's squares along x.
    :param rows: number of a chessboard's squares along y.
    :param square: side of a chessboard's square, metres.
    :param marker: side of a marker with its black border, metres.
    :param dictionary: name of the markers' dictionary, one of ``DICTIONARIES``.
    :param tag: id of the marker that is alone.
    :raises InputError: for a board that cannot be; the message names the field.
    """

    kind: Literal["charuco", "apriltag"] = "charuco"
    columns: int = 5
    rows: int = 7
    square: float = 0.025
    marker: float = 0.018
    dictionary: str = "4X4_50"
    tag: int = 0

    def __post_init__(self) -> None:
        if not hasattr(_ARUCO, "CharucoDetector"):
            raise InputError(f"board: expected OpenCV 4.7 or newer, which finds boards, got {cv2.__version__}")
        if self.dictionary not in DICTIONARIES:
            raise InputError(f"dictionary: expected one of {', '.join(DICTIONARIES)}, got {self.dictionary!r}")
        if not 0.005 <= self.marker <= 1.0:
            raise InputError(f"marker: expected a side of 0.005 to 1 m, got {self.marker:g}")
        markers = len(self._dictionary().bytesList)
        if self.kind == "apriltag":
            if not 0 <= self.tag < markers:
                raise InputError(f"tag: expected an id of {self.dictionary}, 0 to {markers - 1}, got {self.tag}")
            return
        if not (3 <= self.columns <= 50 and 3 <= self.rows <= 50):
            raise InputError(f"columns, rows: expected 3 to 50 squares each, got {self.columns} and {self.rows}")
        if not self.marker < self.square <= 1.0:
            raise InputError(f"square: expected a side above the marker's {self.marker:g} m, got {self.square:g}")
        if self.columns * self.rows // 2 > markers:
            needed = self.columns * self.rows // 2
            raise InputError(f"dictionary: expected one of {needed} markers or more, {self.dictionary} has {markers}")

    @property
    def size(self) -> tuple[float, float]:
        """(width, height), metres."""
        one = self.kind == "apriltag"
        return (self.marker, self.marker) if one else (self.columns * self.square, self.rows * self.square)

    @property
    def text(self) -> str:
        """The board in words for people."""
        if self.kind == "apriltag":
            return f"tag {self.tag} of {self.dictionary}, {1000 * self.marker:g} mm"
        return (
            f"{self.columns}x{self.rows} squares of {1000 * self.square:g} mm, markers of {1000 * self.marker:g} mm "
            f"({self.dictionary})"
        )

    def _dictionary(self) -> Any:
        return _ARUCO.getPredefinedDictionary(DICTIONARIES[self.dictionary])

    def made(self) -> Any:
        """OpenCV's board of the squares."""
        return _ARUCO.CharucoBoard((self.columns, self.rows), self.square, self.marker, self._dictionary())

    def picture(self, dots_per_metre: float) -> np.ndarray:
        """The board for a printer.

        :param dots_per_metre: resolution.
        :returns: (H, W) uint8 of the board's ``size``. Around a tag alone there must be paper left.
        """
        width, height = (round(side * dots_per_metre) for side in self.size)
        if self.kind == "apriltag":
            return _ARUCO.generateImageMarker(self._dictionary(), self.tag, width, borderBits=_BORDER_BITS)
        return self.made().generateImage((width, height), marginSize=0, borderBits=_BORDER_BITS)


@dataclass(frozen=True)
class SeenBoard:
    """
    :param ids: (n,) int64 numbers of the corners on the board.
    :param points: (n, 3) float64, the same corners in the board's frame, metres.
    :param pixels: (n, 2) float64, where they are in the picture, pixels.
    """

    ids: np.ndarray
    points: np.ndarray
    pixels: np.ndarray


class BoardFinder:
    """Finds one board in pictures. Not thread-safe."""

    def __init__(self, board: Board) -> None:
        self.board = board
        parameters = _ARUCO.DetectorParameters()
        parameters.cornerRefinementMethod = _ARUCO.CORNER_REFINE_SUBPIX
        if board.kind == "charuco":
            self._corners = board.made().getChessboardCorners().astype(np.float64)
            # Refined markers would be drawn into the corners of their neighbours; the chessboard's are refined anyway.
            self._charuco = _ARUCO.CharucoDetector(board.made())
        else:
            side = board.marker
            self._corners = np.array([[0, 0, 0], [side, 0, 0], [side, side, 0], [0, side, 0]], np.float64)
            self._markers = _ARUCO.ArucoDetector(board._dictionary(), parameters)

    def find(self, rgb: np.ndarray) -> SeenBoard | None:
        """
        :param rgb: (H, W, 3) uint8.
        :returns: the board, None where too little of it is seen.
        """
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if self.board.kind == "charuco":
            pixels, ids, _, _ = self._charuco.detectBoard(grey)
            if ids is None or len(ids) < _FEWEST_CORNERS or _on_a_line(self._corners[ids.ravel()]):
                return None
            ids, pixels = ids.ravel(), pixels.reshape(-1, 2)
        else:
            found, names, _ = self._markers.detectMarkers(grey)
            ours = [] if names is None else [c for c, name in zip(found, names.ravel()) if name == self.board.tag]
            if len(ours) != 1:
                return None
            ids, pixels = np.arange(4), ours[0].reshape(-1, 2)
        return SeenBoard(ids.astype(np.int64), self._corners[ids], pixels.astype(np.float64))


def _on_a_line(points: np.ndarray) -> bool:
    return bool(np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-6) < 2)


def mean_board(seen: Iterable[SeenBoard]) -> SeenBoard | None:
    """One board of several pictures of a scene at rest: each corner's mean, of those that at least half of them show.

    :returns: None without pictures, or without enough corners.
    """
    boards = list(seen)
    counts = Counter(number for each in boards for number in each.ids.tolist())
    kept = sorted(number for number, count in counts.items() if 2 * count >= len(boards))
    points, pixels = [], []
    for number in kept:
        rows = [(each, int(np.flatnonzero(each.ids == number)[0])) for each in boards if number in each.ids]
        points.append(rows[0][0].points[rows[0][1]])
        pixels.append(np.mean([each.pixels[row] for each, row in rows], axis=0))
    if len(kept) < 4 or _on_a_line(np.array(points)):
        return None
    return SeenBoard(np.array(kept, np.int64), np.array(points), np.array(pixels))


def other_markers(rgb: np.ndarray, board: Board) -> str:
    """What is seen in place of a board, for a message about its absence.

    :param rgb: (H, W, 3) uint8.
    :returns: a few words; empty where there are no markers at all.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    found: dict[str, list[int]] = {}
    for name, number in DICTIONARIES.items():
        detector = _ARUCO.ArucoDetector(_ARUCO.getPredefinedDictionary(number))
        _, ids, _ = detector.detectMarkers(grey)
        if ids is not None:
            found[name] = sorted(ids.ravel().tolist())
    if board.dictionary in found:
        ids = found[board.dictionary]
        if board.kind == "apriltag" and board.tag in ids:
            return f"tag {board.tag} {ids.count(board.tag)} times"
        more = " …" if len(ids) > 8 else ""
        return f"markers {', '.join(map(str, ids[:8]))}{more} of {board.dictionary}"
    # A smaller dictionary of the same markers is the beginning of a larger one.
    several = {name: ids for name, ids in found.items() if len(ids) >= _FEWEST_STRANGERS or "APRILTAG" in name}
    if not several:
        return ""
    name = max(several, key=lambda each: (len(several[each]), -len(each)))
    return f"{len(several[name])} markers of {name}"
