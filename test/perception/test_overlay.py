"""What people see."""

import dataclasses

import cv2
import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.coloured_depth import WideningRange, colour_depth, depth_range
from stvla_ros.perception.overlay import draw_traces, trace_colour
from stvla_ros.perception.side_by_side import Caption, side_by_side
from stvla_ros.perception.types import Traces

RGB = np.full((120, 160, 3), 100, np.uint8)


def traces_of(points, visible=None) -> Traces:
    points = np.asarray(points, np.float32)
    frames, count = points.shape[:2]
    seen = np.ones((frames, count), bool) if visible is None else np.asarray(visible, bool)
    return Traces(points, seen, np.arange(count, dtype=np.uint32), np.arange(frames, dtype=np.int64), (160, 120))


LINE = traces_of([[[20 + 20 * t, 60]] for t in range(6)])


def away(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - RGB).sum(axis=2)


def test_the_overlay_changes_only_the_neighbourhood_of_the_traces():
    changed = np.nonzero(away(draw_traces(RGB, LINE)))
    assert changed[0].min() > 50 and changed[0].max() < 70
    assert changed[1].min() > 10 and changed[1].max() < 130


def test_new_parts_of_a_trace_are_brighter_than_old_ones():
    brightness = draw_traces(RGB, LINE)[60].max(axis=1).astype(int)
    assert brightness[110] > brightness[70] > brightness[25]


def test_the_newest_point_has_a_dot_and_no_dot_where_it_is_not_seen():
    dot = away(draw_traces(RGB, LINE))[52:57, 112:129].sum()
    hidden = away(draw_traces(RGB, dataclasses.replace(LINE, visible=LINE.visible & (np.arange(6) < 5)[:, None])))
    assert dot > 0 and hidden[:, 105:].sum() == 0


def test_each_of_thirty_points_has_a_hue_of_its_own():
    hues = np.sort([cv2.cvtColor(np.uint8([[trace_colour(n)]]), cv2.COLOR_RGB2HSV_FULL)[0, 0, 0] for n in range(30)])
    assert np.diff(hues.astype(int)).min() >= 3


def test_the_input_picture_stays_clean_and_without_traces_the_overlay_is_the_picture():
    rgb = RGB.copy()
    out = draw_traces(rgb, LINE)
    np.testing.assert_array_equal(rgb, RGB)
    out[:] = 0
    np.testing.assert_array_equal(draw_traces(rgb, traces_of(np.zeros((4, 0, 2)))), rgb)


def test_points_that_were_never_seen_may_be_anything():
    wild = traces_of(np.full((6, 1, 2), np.nan), np.zeros((6, 1)))
    np.testing.assert_array_equal(draw_traces(RGB, wild), RGB)


def test_nearer_is_brighter_and_unknown_is_grey():
    depth = np.tile(np.array([0.5, 1, 1.5, 2, 0, np.nan, np.inf], np.float32), (4, 1))
    picture = colour_depth(depth, (7, 4), near_far=(0.5, 2), scale=False).astype(int)
    luminance = picture[0].sum(axis=1)
    assert (np.diff(luminance[:4]) < 0).all()
    for unknown in picture[0, 4:]:
        np.testing.assert_array_equal(unknown, picture[0, 4])
        assert np.ptp(unknown) < 10


def test_a_fixed_range_gives_a_depth_one_colour_whatever_else_is_in_the_frame():
    near, far = np.full((4, 4), 1, np.float32), np.full((4, 4), 1, np.float32)
    far[0] = 9
    pictures = [colour_depth(depth, (4, 4), (0.5, 2), scale=False)[2] for depth in (near, far)]
    np.testing.assert_array_equal(*pictures)


def test_the_scale_stays_in_the_lower_right_corner_and_inside_the_picture():
    depth = np.linspace(0.3, 12.5, 224 * 224, dtype=np.float32).reshape(224, 224)
    plain, scaled = (colour_depth(depth, (480, 360), scale=scale) for scale in (False, True))
    rows, columns = np.nonzero((plain != scaled).any(axis=2))
    assert rows.min() > 180 and columns.min() > 300
    white = np.nonzero((scaled[:, 420:] > 200).all(axis=2))[1]  # the digits
    assert white.size and white.max() < 480 - 420 - 4


@pytest.mark.parametrize("depth", [np.zeros((4, 4), np.float32), np.full((4, 4), np.nan, np.float32)])
def test_a_map_without_depth_can_be_shown(depth):
    assert depth_range(depth) == (0.0, 1.0)
    assert np.ptp(colour_depth(depth, (80, 60), scale=False)) < 10


def test_a_flat_map_has_a_range_that_can_be_shown():
    near, far = depth_range(np.full((4, 4), 1, np.float32))
    assert far - near == pytest.approx(0.05)


@pytest.mark.parametrize("size", [(120, 160), (97, 131), (480, 640)])
def test_a_frame_for_the_video_has_even_sides_and_the_three_pictures(size):
    rgb = np.full((*size, 3), 200, np.uint8)
    frame = side_by_side(
        rgb, np.ones((224, 224), np.float32), rgb // 2, Caption("stack the block", "demo", 3, "success")
    )
    assert frame.dtype == np.uint8 and frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    third = frame.shape[1] // 3
    assert (frame[200, third // 2] == 200).all() and (frame[200, 2 * third + third // 2] == 100).all()


def test_a_long_or_foreign_instruction_does_not_run_into_what_stands_right_of_it():
    rgb = np.full((480, 640, 3), 200, np.uint8)
    depth = np.ones((224, 224), np.float32)
    short = side_by_side(rgb, depth, rgb, Caption("a", "detail", 12, "failure"))
    long = side_by_side(rgb, depth, rgb, Caption("stelle den grünen Würfel " * 20, "detail", 12, "failure"))
    right = slice(short.shape[1] - 260, None)
    np.testing.assert_array_equal(short[:44, right], long[:44, right])


def test_pictures_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="image"):
        draw_traces(RGB[:100], LINE)
    with pytest.raises(InputError, match="overlay"):
        side_by_side(RGB, np.ones((8, 8), np.float32), RGB[:100], Caption(""))
    with pytest.raises(InputError, match="depth"):
        colour_depth(np.ones((4, 4)), (8, 8))
    with pytest.raises(InputError, match="near_far"):
        colour_depth(np.ones((4, 4), np.float32), (8, 8), (2.0, 1.0))


def test_a_videos_range_only_widens_until_the_next_video():
    colours = WideningRange()
    frames = [
        np.linspace(near, far, 1000, dtype=np.float32).reshape(20, 50) for near, far in ((1, 2), (0.5, 1.5), (1, 3))
    ]
    ranges = [colours.update(frame) for frame in frames]
    np.testing.assert_allclose(ranges, [(1, 2), (0.5, 2), (0.5, 3)], atol=0.02)
    assert colours.update(np.zeros((4, 4), np.float32)) == ranges[-1]
    colours.reset()
    assert colours.update(frames[0]) == ranges[0]
