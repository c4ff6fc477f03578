"""The CoTracker adapter: its errors always; its behaviour, with random weights, where the package is installed."""

import importlib.util

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.perception.trackers import make_tracker
from stvla_ros.perception.trackers.cotracker import grid_points

installed = importlib.util.find_spec("cotracker") is not None
needs_cotracker = pytest.mark.skipif(not installed, reason="the cotracker package (CC-BY-NC-4.0) is not installed")


@pytest.mark.skipif(installed, reason="the cotracker package is installed")
def test_missing_package_is_one_line_that_says_how_to_get_it_and_its_licence():
    with pytest.raises(InputError, match="not installed.*pip install.*scaled_offline.*CC-BY-NC-4.0") as error:
        make_tracker("cotracker")
    assert "\n" not in str(error.value)


@needs_cotracker
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_missing_checkpoint_is_one_line_that_says_how_to_get_it_and_its_licence(mode):
    with pytest.raises(InputError, match=f"checkpoint.*scaled_{mode}.*huggingface.co.*CC-BY-NC-4.0") as error:
        make_tracker("cotracker", mode=mode, checkpoint="/nowhere/weights.pth")
    assert "\n" not in str(error.value)


@needs_cotracker
def test_file_that_holds_no_weights_is_an_error(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="holds no weights of CoTracker3 offline"):
        make_tracker("cotracker", checkpoint=str(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "live"),
        ("grid_size", 0),
        ("session_frames", 8),
        ("device", "abacus"),
    ],
)
def test_parameter_out_of_range_is_an_error_naming_it(name, value):
    with pytest.raises(InputError, match=f"cotracker {name}"):
        make_tracker("cotracker", **{name: value})


def test_grid_points_are_centres_of_equal_cells():
    points = grid_points(2, (8, 4))
    assert points.tolist() == [[1.5, 0.5], [5.5, 0.5], [1.5, 2.5], [5.5, 2.5]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    import torch
    from cotracker.models.build_cotracker import build_cotracker

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("cotracker")
    for mode, window in (("offline", 60), ("online", 16)):
        torch.save(build_cotracker(offline=mode == "offline", window_len=window).state_dict(), folder / f"{mode}.pth")
    return folder


def frames(count: int) -> list[np.ndarray]:
    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return [np.ascontiguousarray(np.roll(picture, 2 * shift, axis=1)) for shift in range(count)]


@needs_cotracker
@pytest.mark.slow
def test_offline_tracks_the_whole_buffer_and_keeps_only_its_frames(checkpoints):
    tracker = make_tracker("cotracker", buffer=3, checkpoint=str(checkpoints / "offline.pth"), grid_size=2)
    for stamp, rgb in enumerate(frames(4)):
        traces = tracker.update(rgb, stamp)
        if stamp == 0:
            asked = tracker.query(np.array([[20.0, 30.0]]))
    assert traces.points.shape == (3, traces.num_points, 2)
    assert traces.frame_stamps.tolist() == [1, 2, 3]
    assert asked[0] in traces.ids
    assert sorted(tracker._frames) == [1, 2, 3]


@needs_cotracker
@pytest.mark.slow
def test_online_answers_from_the_sixteenth_frame_and_its_memory_is_bounded(checkpoints):
    tracker = make_tracker(
        "cotracker",
        buffer=20,
        mode="online",
        checkpoint=str(checkpoints / "online.pth"),
        grid_size=2,
        session_frames=32,
    )
    lengths = []
    for stamp, rgb in enumerate(frames(56)):
        traces = tracker.update(rgb, stamp)
        assert len(tracker._frames) <= 16 and traces.frame_stamps[-1] == stamp
        if stamp < 15:
            assert np.ptp(traces.points, axis=0).max() == 0.0
        if stamp % 8 == 7 and stamp >= 15:
            lengths.append(tracker._predictor.model.online_coords_predicted.shape[1])
    assert lengths == [16, 24, 32, 16, 24, 32]
