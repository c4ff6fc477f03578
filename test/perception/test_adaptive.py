import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.errors import InputError
from stvla_ros.perception.adaptive import KeyFrameRule
from stvla_ros.perception.frame_buffer import FrameBuffer

SIZE = (640, 480)  # diagonal 800: the default rule asks for 4 px
IDS = np.arange(4, dtype=np.uint32)


def run(steps: list[float], size: int = 5, rule: KeyFrameRule | None = KeyFrameRule()) -> FrameBuffer:
    """Four points that move to the right together by the given steps, one frame each."""
    buffer = FrameBuffer(size, rule)
    x = 0.0
    for stamp, step in enumerate([0.0, *steps]):
        x += step
        buffer.append(stamp, IDS, np.array([[x, 10.0 * n] for n in range(4)], np.float32), np.ones(4, bool), SIZE)
    return buffer


def test_fast_motion_keeps_every_frame():
    assert run([20.0] * 10).stamps.tolist() == run([20.0] * 10, rule=None).stamps.tolist() == [6, 7, 8, 9, 10]


def test_slow_motion_covers_as_much_path_as_the_step_asks_for():
    buffer = run([0.5] * 80)
    x = buffer.traces().points[:, 0, 0]
    assert len(buffer) == 5
    assert (np.diff(x)[:-1] == 4.0).all()  # key frames are one step of 4 px apart, not 0.5


def test_newest_frame_is_always_the_last_entry():
    buffer = FrameBuffer(4, KeyFrameRule())
    for stamp in range(50):
        buffer.append(stamp, IDS, np.full((4, 2), 0.3 * stamp, np.float32), np.ones(4, bool), SIZE)
        assert buffer.stamps[-1] == stamp
        assert buffer.traces().points[-1, 0, 0] == np.float32(0.3 * stamp)


def test_standstill_takes_a_key_frame_after_max_stretch():
    assert run([0.0] * 40, size=4, rule=KeyFrameRule(max_stretch=10)).stamps.tolist() == [10, 20, 30, 40]


def test_one_point_alone_does_not_make_a_key_frame():
    rule = KeyFrameRule(agreeing_points=2)
    before, after = np.zeros((3, 2)), np.array([[50.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert not rule.is_key_frame(before, after, np.ones(3, bool), 1, SIZE)
    after[1] = (0.0, 4.0)
    assert rule.is_key_frame(before, after, np.ones(3, bool), 1, SIZE)
    assert not rule.is_key_frame(before, after, np.array([True, False, True]), 1, SIZE)


def test_fewer_points_in_both_frames_than_must_agree_make_no_key_frame():
    rule, before, after = KeyFrameRule(agreeing_points=2), np.zeros((3, 2)), np.full((3, 2), 50.0)
    assert rule.is_key_frame(before, after, np.array([True, False, True]), 1, SIZE)
    assert not rule.is_key_frame(before, after, np.array([True, False, False]), 1, SIZE)
    assert not rule.is_key_frame(before, after, np.zeros(3, bool), 1, SIZE)


def test_step_scales_with_the_picture():
    rule, before, after = KeyFrameRule(agreeing_points=1), np.zeros((1, 2)), np.array([[3.0, 0.0]])
    assert not rule.is_key_frame(before, after, np.ones(1, bool), 1, SIZE)
    assert rule.is_key_frame(before, after, np.ones(1, bool), 1, (320, 240))


@examples(quick=60)
@given(steps=st.lists(st.floats(0, 12), min_size=1, max_size=60), size=st.integers(2, 8), stretch=st.integers(1, 9))
def test_window_is_bounded_and_causal(steps, size, stretch):
    rule = KeyFrameRule(max_stretch=stretch)
    whole = run(steps, size, rule)
    assert len(whole) <= size
    gaps = np.diff(whole.stamps)
    assert (gaps >= 1).all() and (gaps <= stretch).all()
    assert whole.stamps[-1] - whole.stamps[0] <= size * stretch
    # What was a key frame before the last frame came is in the window still, unless it is too old.
    earlier = run(steps[:-1], size, rule).stamps[:-1] if len(steps) > 1 else np.zeros(0, int)
    assert set(earlier.tolist()) - set(whole.stamps.tolist()) <= set(earlier[:1].tolist())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_motion", 0.0),
        ("min_motion", 1.0),
        ("min_motion", float("nan")),
        ("max_stretch", 0),
        ("agreeing_points", 0),
    ],
)
def test_value_out_of_range_is_an_error_naming_the_parameter(name, value):
    with pytest.raises(InputError, match=name):
        KeyFrameRule(**{name: value})
