"""The plain pipeline is its stages and nothing else."""

import cv2
import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import Compositor, CompositorConfig, resize_depth
from stvla_ros.perception.depth import make_depth_estimator
from stvla_ros.perception.spatial_traces import SpatialTraces, SpatialTracesConfig
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig

FRAMES = 14


def episode() -> list[tuple[np.ndarray, int, np.ndarray]]:
    """A textured square that moves over a textured table, with its depth in millimetres."""
    rng = np.random.default_rng(5)
    table = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2)
    square = cv2.GaussianBlur(rng.integers(0, 255, (70, 70, 3), np.uint8), (0, 0), 2)
    frames = []
    for i in range(FRAMES):
        rgb, depth = table.copy(), np.full((240, 320), 1200, np.uint16)
        place = slice(60 + 2 * i, 130 + 2 * i), slice(40 + 9 * i, 110 + 9 * i)
        rgb[place], depth[place] = square, 700 - 5 * i
        depth[:5] = 0
        frames.append((rgb, 1_000_000_000 + i * 33_000_000, depth))
    return frames


@pytest.mark.parametrize("variant", ["A", "B", "C"])
def test_a_step_is_the_separate_stages_bit_for_bit(variant):
    config = SpatialTracesConfig(compositor=CompositorConfig(variant=variant))
    whole = SpatialTraces(config)
    tracker, estimator = TraceTracker(config.tracking), make_depth_estimator("sensor")
    compositor = Compositor(config.compositor)
    for rgb, stamp, depth in episode():
        result = whole.step(rgb, stamp, depth)
        traces, metric = tracker.step(rgb, stamp), estimator.estimate(rgb, depth)
        assert result.stamp == stamp
        assert result.traced_depth.tobytes() == compositor.step(traces, metric).tobytes()
        assert result.depth.tobytes() == metric.tobytes()
        assert result.traces.points.tobytes() == traces.points.tobytes()


def test_the_moving_square_leaves_traces_on_the_depth_after_the_warm_up():
    whole = SpatialTraces(SpatialTracesConfig(tracking=TrackingConfig(warm_up_frames=5)))
    drawn = []
    for rgb, stamp, depth in episode():
        result = whole.step(rgb, stamp, depth)
        drawn.append(int((result.traced_depth != resize_depth(result.depth, 224)).sum()))
    assert drawn[:5] == [0] * 5
    assert drawn[-1] > 200


def test_after_a_reset_an_episode_gives_the_same_as_in_a_new_pipeline():
    config = SpatialTracesConfig(compositor=CompositorConfig(variant="B"))
    used, frames = SpatialTraces(config), episode()
    first = [used.step(*frame).traced_depth.tobytes() for frame in frames]
    used.reset()
    assert [used.step(*frame).traced_depth.tobytes() for frame in frames] == first


def test_a_frame_with_a_bad_sensor_depth_counts_for_no_stage():
    frames = episode()
    whole, other = SpatialTraces(), SpatialTraces()
    for i, (rgb, stamp, depth) in enumerate(frames):
        if i == 8:
            with pytest.raises(InputError, match="sensor_depth"):
                whole.step(rgb, stamp, depth[:-1])
        assert (
            whole.step(rgb, stamp, depth).traced_depth.tobytes() == other.step(rgb, stamp, depth).traced_depth.tobytes()
        )


def test_a_stamp_that_repeats_is_refused_and_the_next_frame_works():
    frames = episode()
    whole, other = SpatialTraces(), SpatialTraces()
    for i, frame in enumerate(frames):
        result = whole.step(*frame)
        if i == 8:
            with pytest.raises(InputError, match="stamp"):
                whole.step(*frame)
        assert result.traced_depth.tobytes() == other.step(*frame).traced_depth.tobytes()


@pytest.mark.parametrize(
    "config", [SpatialTracesConfig(depth="radar"), SpatialTracesConfig(depth_parameters={"gain": 2})]
)
def test_a_stage_that_cannot_be_built_is_one_error(config):
    with pytest.raises(InputError, match="depth"):
        SpatialTraces(config)
