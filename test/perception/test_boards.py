"""Calibration boards: what is printed is found again, where it is."""

import cv2
import numpy as np
import pytest

from stvla_ros.calibration.printing import DOTS_PER_METRE, page
from stvla_ros.errors import InputError
from stvla_ros.perception.boards import Board, BoardFinder, SeenBoard, mean_board, other_markers

if not hasattr(getattr(cv2, "aruco", None), "CharucoDetector"):
    pytest.skip("OpenCV finds boards from 4.7 on", allow_module_level=True)

BOARDS = {
    "charuco": Board(),
    "even rows": Board(columns=6, rows=4, square=0.03, marker=0.022, dictionary="5X5_100"),
    "tag": Board("apriltag", marker=0.06, dictionary="APRILTAG_36h11", tag=7),
}


def printed(board: Board) -> np.ndarray:
    """The page as a camera that looks straight at it sees it."""
    return np.repeat(page(board)[::4, ::4, None], 3, axis=2)


@pytest.mark.parametrize("name", BOARDS)
def test_a_printed_board_is_found_with_its_corners_where_they_are(name: str) -> None:
    board = BOARDS[name]
    seen = BoardFinder(board).find(printed(board))
    assert len(seen.ids) == (4 if board.kind == "apriltag" else (board.columns - 1) * (board.rows - 1))
    # By similarity: a dot is a quarter of the printer's.
    way = (seen.pixels - seen.pixels[0]) * 4 / DOTS_PER_METRE
    assert np.abs(way - (seen.points - seen.points[0])[:, :2]).max() < 2e-4


def test_a_board_of_which_little_is_seen_is_not_found() -> None:
    board = BOARDS["charuco"]
    picture = printed(board)
    picture[: int(0.75 * len(picture))] = 255
    assert BoardFinder(board).find(picture) is None


def test_a_picture_of_two_equal_tags_shows_no_board() -> None:
    picture = printed(BOARDS["tag"])
    assert BoardFinder(BOARDS["tag"]).find(np.hstack([picture, picture])) is None
    assert other_markers(np.hstack([picture, picture]), BOARDS["tag"]) == "tag 7 2 times"


@pytest.mark.parametrize(
    ("seen", "expected", "said"),
    [
        ("even rows", "charuco", "12 markers of 5X5_50"),
        ("tag", "charuco", "1 markers of APRILTAG_36h11"),
        ("charuco", "tag", "17 markers of 4X4_50"),
    ],
)
def test_what_is_seen_in_place_of_the_board_is_named(seen: str, expected: str, said: str) -> None:
    assert other_markers(printed(BOARDS[seen]), BOARDS[expected]) == said


def test_no_markers_are_nothing_to_name() -> None:
    assert other_markers(np.full((60, 80, 3), 90, np.uint8), Board()) == ""


def test_the_mean_of_pictures_has_the_corners_that_half_of_them_show() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 2, 0]])

    def seen(ids: list[int], by: float) -> SeenBoard:
        return SeenBoard(np.array(ids), square[ids], square[ids, :2] * 100 + by)

    mean = mean_board([seen([0, 1, 2, 3], 0.0), seen([0, 1, 2, 3, 4], 1.0), seen([0, 1, 2, 3], 0.5)])
    assert mean.ids.tolist() == [0, 1, 2, 3]
    assert np.allclose(mean.pixels, square[:4, :2] * 100 + 0.5)
    assert mean_board([]) is None and mean_board([seen([0, 1, 2], 0.0)]) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dictionary": "4x4"}, "dictionary: expected one of"),
        ({"square": 0.01}, "square: expected a side above the marker's 0.018 m, got 0.01"),
        ({"marker": 18.0, "square": 25.0}, "marker: expected a side of 0.005 to 1 m, got 18"),
        ({"columns": 2}, "columns, rows: expected 3 to 50 squares each, got 2 and 7"),
        ({"columns": 20}, "dictionary: expected one of 70 markers or more, 4X4_50 has 50"),
        ({"kind": "apriltag", "tag": 50}, "tag: expected an id of 4X4_50, 0 to 49, got 50"),
    ],
)
def test_a_board_that_cannot_be_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(InputError) as raised:
        Board(**fields)
    assert str(raised.value).startswith(message)
