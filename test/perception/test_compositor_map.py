"""The compositor's map and its lines on it, and the traces in space."""

import numpy as np
import pytest
from drawn_scenes import HEIGHT, WIDTH, compositor, make_traces, play
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stvla_ros.perception.compositor import (
    Compositor,
    CompositorConfig,
    resize_depth,
    traces_3d,
)
from stvla_ros.perception.geometry import project

# --- the map ---


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(width=32)),
    st.integers(8, 50),
)
def test_resizing_invents_no_depth(depth, size):
    out = resize_depth(depth, size)
    assert out.shape == (size, size) and np.isin(out, np.append(depth[np.isfinite(depth) & (depth > 0)], 0)).all()


def test_resizing_takes_the_pixel_under_the_centre():
    y, x = np.mgrid[:480, :640]
    np.testing.assert_array_equal(
        resize_depth((x + 1).astype(np.float32), 224)[0], ((np.arange(224) + 0.5) * 640 / 224).astype(int) + 1
    )
    np.testing.assert_array_equal(
        resize_depth((y + 1).astype(np.float32), 224)[:, 0], ((np.arange(224) + 0.5) * 480 / 224).astype(int) + 1
    )


@pytest.mark.parametrize("line_width", [1, 3, 5, 7])
def test_the_stated_share_of_a_line_survives_the_policys_7x7_means(line_width):
    shares = []
    for x in np.arange(100, 107):
        traces = make_traces([[[x, 10]], [[x, 210]]], image_size=(224, 224))
        depth = np.full((224, 224), 2, np.float32)
        depth[:, :8] = 1.0  # the closest object
        out = Compositor(CompositorConfig(line_width=line_width)).step(traces, depth)
        shares.append((2 - out.reshape(32, 7, 32, 7).mean(axis=(1, 3)))[15, 10:].max())
    assert min(shares) == pytest.approx((line_width + 1) / 14, abs=1e-5)


def test_thinning_keeps_the_ends_and_leaves_out_what_is_near():
    # 12 vertices, one pixel of the map apart, with a spike at the fourth.
    points = [[[4 + 2 * t, 20 + (6 if t == 3 else 0)]] for t in range(12)]
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[44:, 56:] = 0.5
    for thinning, spike in ((0.0, True), (8.0, False)):
        drawing = compositor("C", line_width=1, min_vertex_distance=thinning)
        out = play(drawing, make_traces(points), [depth] * 12)
        drawn = out[:20] == 0.5
        columns = np.nonzero(drawn.any(axis=0))[0]
        assert columns.min() == 2 and columns.max() == 13
        assert drawn[15:19].any() == spike


# --- 3D ---

K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])


def test_traces_in_space_project_onto_their_pixels_at_the_depths_seen():
    traces = make_traces([[[5, 20], [40, 9]], [[25, 21], [41, 10]], [[50, 22], [42, 11]]], ids=[7, 9])
    maps = [np.full((HEIGHT, WIDTH), z, np.float32) for z in (3.0, 2.0, 1.0)]
    drawing = compositor("C")
    play(drawing, traces, maps)
    lines = traces_3d(traces, drawing.vertex_depths(traces), K)
    assert list(lines) == [7, 9]
    for n, line in enumerate(lines.values()):
        np.testing.assert_array_equal(line[:, 2], [3, 2, 1])
        np.testing.assert_allclose(project(line, K), traces.points[:, n], atol=1e-9)


def test_vertices_without_depth_are_dropped_and_lone_ones_with_them():
    traces = make_traces(np.full((3, 2, 2), 20.0), ids=[7, 9])
    lines = traces_3d(traces, np.array([[1, 0], [0, 0], [2, 3]], np.float32), K)
    assert list(lines) == [7]
    np.testing.assert_array_equal(lines[7][:, 2], [1, 2])
