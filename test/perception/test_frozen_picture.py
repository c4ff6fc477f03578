"""A repeated picture is told from a still scene."""

import numpy as np

from stvla_ros.perception.frozen_picture import FrozenPicture

SECOND = 1_000_000_000
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_the_same_picture_under_new_stamps_is_frozen_for_their_difference() -> None:
    watch = FrozenPicture()
    assert [watch.update(PICTURE, stamp * SECOND) for stamp in (5, 6, 8)] == [0.0, 1.0, 3.0]


def test_one_changed_value_ends_it() -> None:
    watch = FrozenPicture()
    watch.update(PICTURE, 0)
    changed = PICTURE.copy()
    changed[4, 7, 1] ^= 1
    assert watch.update(changed, SECOND) == 0.0
    assert watch.update(changed, 2 * SECOND) == 1.0


def test_another_size_or_an_earlier_stamp_starts_anew() -> None:
    watch = FrozenPicture()
    watch.update(PICTURE, 5 * SECOND)
    assert watch.update(PICTURE[:24], 6 * SECOND) == 0.0
    assert watch.update(PICTURE[:24], SECOND) == 0.0


def test_the_buffer_that_was_seen_may_be_written_again() -> None:
    watch = FrozenPicture()
    buffer = PICTURE.copy()
    watch.update(buffer, 0)
    buffer += 1
    assert watch.update(buffer, SECOND) == 0.0
