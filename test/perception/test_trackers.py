"""The registry, the checks that every tracker shares, and TraceTracker."""

import subprocess
import sys

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.moving_points import SelectionParameters
from stvla_ros.perception.trackers import make_tracker
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig

BACKGROUND = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
BLOCK = np.random.default_rng(1).integers(0, 256, (10, 10, 3), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)


def scene(x: float) -> np.ndarray:
    """320x240, a block of 60 px at whole pixel ``x``."""
    picture = BACKGROUND.copy()
    picture[90:150, int(x) : int(x) + 60] = BLOCK
    return picture


def test_unknown_tracker_is_an_error_that_lists_the_known_ones():
    with pytest.raises(InputError, match="lucas_kanade, kinematic, cotracker, tapnext, got 'optical_flow'"):
        make_tracker("optical_flow")


def test_unknown_parameter_is_an_error_that_lists_the_known_ones():
    with pytest.raises(InputError, match="'points'.*num_points"):
        make_tracker("lucas_kanade", points=3)


def test_importing_and_running_lucas_kanade_imports_no_torch():
    code = "import sys; from stvla_ros.perception.tracking import TraceTracker; TraceTracker()"
    subprocess.run([sys.executable, "-c", code + "; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((240, 320, 3), np.float32),
        np.zeros((240, 320), np.uint8),
        np.zeros((240, 320, 4), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((240, 0, 3), np.uint8),
        np.zeros((31, 320, 3), np.uint8),
        None,
        [[0]],
    ],
)
def test_bad_picture_is_an_error_and_the_next_good_one_works(rgb):
    tracker = TraceTracker()
    tracker.step(scene(10), 1)
    with pytest.raises(InputError, match="rgb"):
        tracker.step(rgb, 2)
    assert tracker.step(scene(10), 3).frame_stamps.tolist() == [1, 3]


@pytest.mark.parametrize("stamp", [5, 4])
def test_stamp_that_does_not_increase_is_an_error_and_the_state_stays(stamp):
    tracker = TraceTracker()
    tracker.step(scene(10), 5)
    with pytest.raises(InputError, match=f"stamp {stamp}"):
        tracker.step(scene(14), stamp)
    assert tracker.step(scene(14), 6).frame_stamps.tolist() == [5, 6]


@pytest.mark.parametrize("warm_up", [5, 0, 2])
def test_no_traces_during_warm_up(warm_up):
    tracker = TraceTracker(TrackingConfig(warm_up_frames=warm_up))
    counts = [tracker.step(scene(10 + 10 * frame), frame).num_points for frame in range(8)]
    assert counts[:warm_up] == [0] * warm_up
    assert all(counts[max(warm_up, 1) :])  # the first frame of all shows no motion


def test_five_warm_up_frames_and_thirty_buffered_ones_are_the_default():
    assert (TrackingConfig().warm_up_frames, TrackingConfig().buffer) == (5, 30)


@pytest.mark.parametrize("buffer", [2, 7, 15])
def test_traces_reach_back_at_most_the_buffer(buffer):
    tracker = TraceTracker(TrackingConfig(buffer=buffer, adaptive=False))
    for frame in range(20):
        traces = tracker.step(scene(10 + 8 * frame), frame)
    assert traces.frame_stamps.tolist() == list(range(20 - buffer, 20)) and traces.num_points > 0


def test_traces_lie_on_what_moves():
    tracker = TraceTracker()
    for frame in range(15):
        traces = tracker.step(scene(10 + 9 * frame), frame)
    x, y = traces.points[-1].T
    assert traces.num_points >= 4
    assert ((x > 134) & (x < 198) & (y > 88) & (y < 152)).all()


def test_still_scene_has_no_traces():
    tracker = TraceTracker()
    assert [tracker.step(scene(10), frame).num_points for frame in range(10)] == [0] * 10


def test_reset_starts_a_new_episode_with_warm_up_and_any_stamp():
    tracker = TraceTracker()
    for frame in range(8):
        tracker.step(scene(10 + 10 * frame), 100 + frame)
    tracker.reset()
    traces = [tracker.step(scene(10 + 10 * frame), frame) for frame in range(7)]
    assert [t.num_points > 0 for t in traces] == [False] * 5 + [True] * 2
    assert traces[0].frame_stamps.tolist() == [0]


def test_another_image_size_starts_anew_without_reusing_ids():
    tracker = make_tracker("lucas_kanade")
    before = tracker.update(scene(10), 1)
    after = tracker.update(np.ascontiguousarray(scene(10)[:200, :300]), 2)
    assert after.frame_stamps.tolist() == [2] and after.image_size == (300, 200)
    assert after.ids.min() > before.ids.max()


def slow_run(adaptive: bool) -> list[int]:
    """Traces in each frame after warm-up of a block that moves 1 px every other frame, seen through a short buffer."""
    tracker = TraceTracker(TrackingConfig(buffer=5, adaptive=adaptive))
    return [tracker.step(scene(10 + frame / 2), frame).num_points for frame in range(60)][20:]


def test_slow_motion_gives_traces_only_when_adaptive():
    assert slow_run(adaptive=False) == [0] * 40
    assert all(slow_run(adaptive=True))


def test_adaptive_changes_nothing_at_full_speed():
    runs = [TraceTracker(TrackingConfig(buffer=6, adaptive=adaptive)) for adaptive in (False, True)]
    for frame in range(14):
        one, other = (tracker.step(scene(10 + 12 * frame), frame) for tracker in runs)
        assert one.frame_stamps.tolist() == other.frame_stamps.tolist()
        assert one.points.tobytes() == other.points.tobytes()


def test_selection_parameters_are_used():
    tracker = TraceTracker(TrackingConfig(selection=SelectionParameters(max_traces=2)))
    assert [tracker.step(scene(10 + 9 * frame), frame).num_points for frame in range(10)][-1] == 2


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("buffer", {"buffer": 1}),
        ("warm_up_frames", {"warm_up_frames": -1}),
        ("tracker", {"tracker": "none"}),
        ("num_points", {"tracker_parameters": {"num_points": 0}}),
    ],
)
def test_bad_configuration_is_an_error_naming_the_parameter(name, config):
    with pytest.raises(InputError, match=name):
        TraceTracker(TrackingConfig(**config))
