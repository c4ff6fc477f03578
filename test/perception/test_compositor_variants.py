"""The depths of the compositor's variants A, B and C."""

import dataclasses

import numpy as np
import pytest
import robot_scenes
from drawn_scenes import HEIGHT, ROW, SIZE, WIDTH, compositor, make_traces, play, scenes
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import (
    Compositor,
    CompositorConfig,
    closest_depth,
    interpolate_columns,
    resize_depth,
    without_robot,
)

# --- A, B, C ---


@given(scenes())
@examples(quick=40)
def test_c_draws_every_trace_pixel_at_the_depth_of_the_closest_object(scene):
    traces, maps = scene
    out = play(compositor("C", line_width=3), traces, maps)
    plain = resize_depth(maps[-1], SIZE)
    changed = out != plain
    assert (out[changed] == closest_depth(plain, 1.0)).all()


def test_the_closest_object_is_not_a_stray_reading():
    depth = np.full((100, 100), 2, np.float32)
    depth[:2, :4] = 0.1  # 8 stray readings of 10,000
    depth[50:70, 50:70] = 0.8  # an object of 4 percent
    depth[80:] = 0  # unknown does not count
    assert closest_depth(depth, 1.0) == np.float32(0.8)
    assert closest_depth(depth, 0.0) == np.float32(0.1)


@given(hnp.arrays(np.float32, (9, 9), elements=st.floats(0, 4, width=32)), st.floats(0, 50))
def test_the_closest_depth_is_one_that_occurs(depth, percentile):
    closest = closest_depth(depth, percentile)
    valid = depth[depth > 0]
    assert closest in valid if valid.size else closest == 0
    assert (valid < closest).sum() <= valid.size * percentile / 100


def test_a_draws_the_whole_trace_at_the_depth_where_its_newest_point_lies_now():
    depth_before, depth_now = (np.full((HEIGHT, WIDTH), z, np.float32) for z in (3, 2))
    depth_now[15:26, 45:56] = 0.7  # the manipulator, around the newest point
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    out = play(compositor("A", line_width=1), traces, [depth_before, depth_before, depth_now])
    assert (out[ROW, 2:26] == np.float32(0.7)).all()  # map x of the picture's 5 to 50
    assert (out[0] == 2).all()


def test_a_each_trace_has_one_depth_and_the_nearer_wins_where_two_cross():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 54:], depth[40:, :] = 0.5, 0.9
    traces = make_traces([[[4, 20], [30, 4]], [[60, 20], [30, 46]]])
    for order in ([0, 1], [1, 0]):
        swapped = dataclasses.replace(traces, points=traces.points[:, order])
        out = play(compositor("A", line_width=3), swapped, [depth, depth])
        assert out[ROW, 15] == np.float32(0.5)  # the crossing
        assert set(np.unique(out[5:8, 14:17])) <= {np.float32(0.9), np.float32(2)} and out[6, 15] == np.float32(0.9)


def test_a_takes_the_newest_depth_known_where_the_newest_point_has_none():
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.5, 2.0)]
    maps[2][:, 40:] = 0
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    out = play(compositor("A", line_width=1), traces, maps)
    assert (out[ROW, 3:25] == np.float32(2.5)).all()


@given(st.lists(st.floats(0.25, 3, width=32), min_size=2, max_size=4))
@examples(quick=40)
def test_b_runs_linearly_between_the_depths_at_which_the_point_was_seen(z):
    xs = np.linspace(4, 59, len(z))
    traces = make_traces([[[x, 20]] for x in xs])
    maps = [np.full((HEIGHT, WIDTH), depth, np.float32) for depth in z]
    out = play(compositor("B", line_width=1), traces, maps)
    on_line = (xs + 0.5) / 2 - 0.5
    columns = np.arange(int(np.ceil(on_line[0])), int(on_line[-1]) + 1)
    # A pixel is sampled within half a pixel of its centre (one line segment is at least 9 pixels long).
    slack = max(np.abs(np.diff(z)).max() / (on_line[1] - on_line[0]), 0) * 0.51 + 1e-5
    np.testing.assert_allclose(out[ROW, columns], np.interp(columns, on_line, z), atol=slack)


@given(st.floats(0.25, 3, width=32), st.floats(0.25, 3, width=32), st.sampled_from([1, 3, 5]))
@examples(quick=40)
def test_b_is_monotone_along_a_line_and_stays_between_its_ends(z_old, z_new, line_width):
    traces = make_traces([[[8, 20]], [[56, 20]]])
    maps = [np.full((HEIGHT, WIDTH), depth, np.float32) for depth in (z_old, z_new)]
    line = play(compositor("B", line_width=line_width), traces, maps)[ROW, 4:28]
    steps = np.diff(line) * (1 if z_new >= z_old else -1)
    assert (steps >= -1e-6).all()
    assert line.min() >= min(z_old, z_new) - 1e-6 and line.max() <= max(z_old, z_new) + 1e-6


def test_b_remembers_the_depth_of_points_that_become_traces_only_later():
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.0, 1.0)]
    drawing = compositor("B", line_width=1)
    none = make_traces(np.zeros((2, 0, 2)))
    drawing.step(make_traces(np.zeros((1, 0, 2))), maps[0])
    drawing.step(none, maps[1])
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]])
    drawing.step(traces, maps[2])
    np.testing.assert_array_equal(drawing.vertex_depths(traces)[:, 0], [3, 2, 1])


def test_b_bridges_frames_without_depth_along_the_trace():
    depths = np.array([[0, 1], [2, 0], [0, 0], [4, 4], [0, 0]], np.float32)
    np.testing.assert_array_equal(interpolate_columns(depths), [[2, 1], [2, 2], [3, 3], [4, 4], [4, 4]])
    np.testing.assert_array_equal(interpolate_columns(np.zeros((3, 2), np.float32)), np.zeros((3, 2)))


def test_memory_is_bounded_by_the_traces_window():
    drawing = compositor("B")
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    for now in range(100):
        stamps = np.arange(max(0, now - 6), now + 1)
        drawing.step(make_traces(np.full((len(stamps), 1, 2), 20), stamps=stamps), depth)
    assert drawing._point_depths.stamps == list(range(93, 100))


def test_a_point_on_an_outline_has_the_nearer_sides_depth():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, :30] = 0.8
    traces = make_traces([[[30.4, 20]]])
    for window, expected in ((3, 0.8), (1, 2.0)):
        drawing = compositor("B", depth_window=window)
        drawing.step(traces, depth)
        assert drawing.vertex_depths(traces)[0, 0] == np.float32(expected)


# --- options ---


def test_c_can_draw_at_a_fixed_depth_whatever_is_near():
    near, far = (np.full((HEIGHT, WIDTH), z, np.float32) for z in (0.2, 2.0))
    traces = make_traces([[[5, 20]], [[50, 20]]])
    for depth in (near, far):
        out = play(compositor("C", line_width=1, near_depth=0.3), traces, [depth, depth])
        assert (out[ROW, 3:25] == np.float32(0.3)).all()


def robot_and_thing():
    """A palm at 0.5 m that covers a part of the picture, and a thing at 0.6 m beside it on a table at 1 m."""
    scene = robot_scenes.Scene(palm=(0.0, 0.03), thing=(0.08, 0.0))
    _, depth, view = scene.frame()
    traces = make_traces([[[20, 20]], [[60, 20]]], image_size=(robot_scenes.WIDTH, robot_scenes.HEIGHT))
    # The palm itself, from above.
    x, y = (round(each) for each in robot_scenes.pixel(scene.palm, robot_scenes.PALM))
    depth[y - 12 : y + 12, x - 12 : x + 12] = robot_scenes.PALM
    return traces, depth, view


@pytest.mark.parametrize(("ignored", "closest"), [(False, robot_scenes.PALM), (True, robot_scenes.THING)])
def test_c_leaves_the_robots_own_links_out_where_they_are_known(ignored, closest):
    traces, depth, view = robot_and_thing()
    drawing = Compositor(CompositorConfig("C", ignore_robot=ignored, closest_percentile=0.2))
    drawing.step(dataclasses.replace(traces, points=traces.points[:1], visible=traces.visible[:1],
                                     frame_stamps=traces.frame_stamps[:1]), depth, view)  # fmt: skip
    out = drawing.step(traces, depth, view)
    assert set(np.unique(out[17:20, 16:40])) == {np.float32(closest)}
    assert drawing.needs_robot == ignored


def test_only_what_is_on_the_robot_or_unknown_is_left_out():
    _, depth, view = robot_and_thing()
    depth[:40] = 0
    plain = resize_depth(depth, 224)[2::4, 2::4]
    kept = without_robot(resize_depth(depth, 224), view, (robot_scenes.WIDTH, robot_scenes.HEIGHT))
    assert kept.shape == plain.shape
    on_robot = (plain == np.float32(robot_scenes.PALM)) | (plain == np.float32(robot_scenes.FINGER))
    assert on_robot.any() and not kept[on_robot].any()
    elsewhere = np.isin(plain, np.float32([robot_scenes.TABLE, robot_scenes.THING]))
    assert (kept[elsewhere] == plain[elsewhere]).mean() > 0.98  # but what touches a finger
    assert not kept[plain == 0].any()


def test_a_robot_that_nobody_knows_cannot_be_left_out():
    traces, depth, _ = robot_and_thing()
    with pytest.raises(InputError, match="ignore_robot: expected the robot's position in the picture"):
        Compositor(CompositorConfig("C", ignore_robot=True)).step(traces, depth)


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_older_strokes_can_be_drawn_farther_away(variant):
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    traces = make_traces([[[5, 20]], [[25, 20]], [[50, 20]]], stamps=np.array([0, 1, 2]) * 10**9)
    plain, aged = (play(compositor(variant, line_width=1, age_step=step), traces, [depth] * 3) for step in (0.0, 0.25))
    assert (plain == 2).all()
    row = aged[ROW, 2:26]
    assert row[0] == pytest.approx(2.5, abs=0.03) and row[-1] == pytest.approx(2.0, abs=0.03)
    assert (np.diff(row) <= 0).all()
    assert (np.delete(aged, ROW, axis=0) == 2).all()


def test_where_a_trace_crosses_itself_the_newer_stroke_is_seen():
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    traces = make_traces([[[5, 20]], [[50, 20]], [[5, 20]]], stamps=np.array([0, 1, 2]) * 10**9)
    out = play(compositor("C", line_width=1, age_step=0.2), traces, [depth] * 3)
    assert out[ROW, 3] == pytest.approx(2.0, abs=0.02)
