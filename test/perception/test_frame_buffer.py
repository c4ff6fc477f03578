import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.frame_buffer import FrameBuffer

SIZE = (640, 480)


def append(buffer: FrameBuffer, stamp: int, places: dict[int, float], size: tuple[int, int] = SIZE) -> None:
    """Points by id, at (x, 0), all seen."""
    points = np.array([(x, 0.0) for x in places.values()], np.float32).reshape(-1, 2)
    buffer.append(stamp, np.array(list(places), np.uint32), points, np.ones(len(places), bool), size)


@pytest.mark.parametrize("size", [2, 7, 15, 30])
def test_holds_the_last_b_frames_oldest_first(size):
    buffer = FrameBuffer(size)
    for frame in range(size + 3):
        append(buffer, 10 * frame, {0: frame})
    traces = buffer.traces()
    assert traces.frame_stamps.tolist() == [10 * frame for frame in range(3, size + 3)]
    assert traces.points[:, 0, 0].tolist() == list(range(3, size + 3))


def test_thirty_frames_is_the_default():
    assert FrameBuffer().size == 30


@pytest.mark.parametrize("size", [1, 0, -3, 2.5, True, "7"])
def test_size_below_two_or_no_integer_is_an_error(size):
    with pytest.raises(InputError, match="buffer"):
        FrameBuffer(size)


@pytest.mark.parametrize(("stamp", "word"), [(20, "repeats"), (19, "runs backwards")])
def test_stamp_that_does_not_increase_is_an_error_and_changes_nothing(stamp, word):
    buffer = FrameBuffer(4)
    append(buffer, 10, {0: 1.0})
    append(buffer, 20, {0: 2.0})
    with pytest.raises(InputError, match=f"stamp {stamp} ns {word}"):
        append(buffer, stamp, {0: 9.0})
    assert buffer.traces().points[:, 0, 0].tolist() == [1.0, 2.0]
    append(buffer, 21, {0: 3.0})
    assert len(buffer) == 3


def test_reset_forgets_and_takes_any_stamp():
    buffer = FrameBuffer(4)
    append(buffer, 100, {5: 1.0})
    buffer.reset()
    assert len(buffer) == 0 and buffer.frames_seen == 0
    append(buffer, 1, {6: 2.0})
    assert buffer.traces().ids.tolist() == [6]


def test_another_image_size_starts_a_new_buffer():
    buffer = FrameBuffer(4)
    append(buffer, 1, {0: 1.0})
    append(buffer, 2, {0: 1.0}, (320, 240))
    traces = buffer.traces()
    assert traces.frame_stamps.tolist() == [2] and traces.image_size == (320, 240)


def test_points_no_longer_listed_are_forgotten_and_new_ones_unseen_before():
    buffer = FrameBuffer(4)
    append(buffer, 1, {0: 10.0, 1: 11.0})
    append(buffer, 2, {1: 21.0, 7: 27.0})
    traces = buffer.traces()
    assert traces.ids.tolist() == [1, 7]
    assert traces.visible.tolist() == [[True, False], [True, True]]
    assert traces.points[:, 0, 0].tolist() == [11.0, 21.0]


def test_traces_of_an_empty_buffer_are_an_error():
    with pytest.raises(InputError, match="at least one frame"):
        FrameBuffer(3).traces()


def test_repeated_ids_are_an_error():
    with pytest.raises(InputError, match="ids"):
        FrameBuffer(3).append(1, np.array([4, 4]), np.zeros((2, 2)), np.ones(2, bool), SIZE)


def test_shapes_that_do_not_match_are_an_error():
    with pytest.raises(InputError, match="points"):
        FrameBuffer(3).append(1, np.array([4, 5]), np.zeros((1, 2)), np.ones(2, bool), SIZE)


def test_revise_replaces_frames_that_are_still_there():
    buffer = FrameBuffer(2)
    for stamp in (1, 2, 3):
        append(buffer, stamp, {0: 0.0})
    buffer.revise(np.array([1, 3]), np.array([[[5.0, 5.0]], [[6.0, 6.0]]]), np.array([[False], [False]]))
    traces = buffer.traces()
    assert traces.points[:, 0, 0].tolist() == [0.0, 6.0]
    assert traces.visible[:, 0].tolist() == [True, False]


def test_traces_handed_out_do_not_change_later():
    buffer = FrameBuffer(3)
    append(buffer, 1, {0: 1.0})
    traces = buffer.traces()
    buffer.revise(np.array([1]), np.full((1, 1, 2), 9.0), np.zeros((1, 1), bool))
    assert traces.points[0, 0, 0] == 1.0 and traces.visible.all()


@given(
    size=st.integers(2, 8),
    frames=st.lists(
        st.dictionaries(st.integers(0, 9), st.floats(0, 100, width=32), max_size=6), min_size=1, max_size=20
    ),
)
def test_history_equals_what_was_appended_for_unbroken_ids(size, frames):
    buffer = FrameBuffer(size)
    for stamp, places in enumerate(frames):
        append(buffer, stamp, places)
    traces = buffer.traces()
    kept = frames[-size:]
    assert traces.points.shape == (len(kept), len(frames[-1]), 2)
    for column, identity in enumerate(traces.ids.tolist()):
        # An id is known back to the last frame that did not list it.
        for row in reversed(range(len(kept))):
            if identity not in kept[row]:
                assert not traces.visible[: row + 1, column].any()
                break
            assert traces.visible[row, column] and traces.points[row, column, 0] == np.float32(kept[row][identity])
