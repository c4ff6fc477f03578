"""The pictures before training show the frames in which the gripper closes and opens."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from training_data import demonstration, write

from stvla_ros.learning.training import grip_pictures
from stvla_ros.learning.training.grip_pictures import moments, write_grip_pictures
from stvla_ros.learning.training.selection import select_episodes


@pytest.mark.parametrize(
    "opening, frames",
    [
        ([1, 1, 1, 0, 0, 0, 1, 1], [1, 3, 5, 6]),
        ([0, 0, 1, 1, 0, 0, 0, 0], [2, 4, 6, 7]),  # closed at the start: it opens before it grasps
        ([1, 0], [0, 1, 1, 1]),
        ([1, 1, 1, 1, 1], [0, 2, 4]),
        ([0, 0, 0], [0, 1, 2]),
        ([0, 0, 1], [0, 1, 2]),
        ([1], [0]),
    ],
)
def test_what_is_looked_at(opening: list[float], frames: list[int]) -> None:
    assert [frame for _, frame in moments(np.array(opening, np.float32), 2)] == frames


def test_a_gripper_that_never_closes_is_said_to_be_open_or_shut() -> None:
    assert {text for text, _ in moments(np.ones(5), 2)} == {"open, frame"}
    assert {text for text, _ in moments(np.zeros(5), 2)} == {"closed at the start, frame"}


def coloured(seed: int, **changes: object):
    """Frame i is of the grey 15 i."""
    grey = np.repeat(np.arange(12, dtype=np.uint8)[:, None, None, None] * 15, 3, axis=3)
    return demonstration(seed, rgb=np.broadcast_to(grey, (12, 120, 160, 3)).copy(), **changes)


def test_a_row_of_an_episode_shows_the_pictures_of_its_moments(tmp_path: Path) -> None:
    reader = write(tmp_path / "data", [coloured(seed) for seed in range(6)])
    file = write_grip_pictures(tmp_path, [select_episodes(reader, 0)])
    page = cv2.imread(str(file))
    height, rows = page.shape[0] // 3, 3
    assert page.shape[1] == 4 * (grip_pictures._WIDTH + grip_pictures._GAP)
    for row in range(rows):
        shown = [page[row * height + height // 2, column * page.shape[1] // 4 + 120, 0] for column in range(4)]
        # It closes in frame 6; a second is 5 frames.
        assert shown == [15, 90, 165, 165]


@pytest.mark.parametrize("sets, rows", [(1, 3), (2, 3), (4, 4), (9, 6)])
def test_each_data_set_has_an_episode_up_to_six(tmp_path: Path, sets: int, rows: int) -> None:
    selections = [
        select_episodes(write(tmp_path / str(number), [coloured(number * 9 + each) for each in range(5)]), 0)
        for number in range(sets)
    ]
    assert len(list(grip_pictures._sampled(selections))) == rows


def test_an_episode_of_one_frame_is_shown(tmp_path: Path) -> None:
    reader = write(tmp_path / "data", [demonstration(0, frames=1)])
    assert write_grip_pictures(tmp_path, [select_episodes(reader, 0)]).is_file()
