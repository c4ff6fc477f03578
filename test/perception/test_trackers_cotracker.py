"""The CoTracker adapter: its errors always; its behaviour, with random weights, where the package is installed."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stvla_ros.errors import InputError  # noqa: E402
from stvla_ros.perception.trackers import cotracker, make_tracker  # noqa: E402
from stvla_ros.perception.trackers.grid import grid_points  # noqa: E402

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


class Predictor:
    """Stands in for the authors' predictors, whose licence keeps them out of the tests' environment: where they would
    run out of memory, and what they were given.
    """

    full_at = ""

    def __init__(self, **_) -> None:
        self.calls: list[dict] = []
        self._use("construction")

    def to(self, device: torch.device) -> "Predictor":
        self._use("moving")
        return self

    def __call__(self, video: torch.Tensor, queries: torch.Tensor | None = None, **named):
        self.calls.append({"video": video, "queries": queries, **named})
        self._use("running")
        if queries is not None:
            self._points = queries.shape[1]
        points = torch.zeros(1, video.shape[1], self._points, 2, device=video.device)
        return points, points[..., 0] > 0

    def _use(self, step: str) -> None:
        if step == self.full_at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of …")


@pytest.fixture
def stand_in(monkeypatch, tmp_path) -> dict:
    """Parameters of a tracker that holds a ``Predictor``."""
    module = SimpleNamespace(CoTrackerPredictor=Predictor, CoTrackerOnlinePredictor=Predictor)
    monkeypatch.setitem(sys.modules, "cotracker", SimpleNamespace(predictor=module))
    monkeypatch.setitem(sys.modules, "cotracker.predictor", module)
    weights = tmp_path / "weights.pth"
    weights.touch()
    return {"checkpoint": str(weights), "grid_size": 2}


@pytest.mark.parametrize("mode", ["offline", "online"])
@pytest.mark.parametrize("step", ["construction", "moving"])
def test_too_little_memory_for_the_network_is_one_line_that_says_so(stand_in, monkeypatch, mode, step):
    monkeypatch.setattr(Predictor, "full_at", step)
    with pytest.raises(InputError, match=f"^cotracker {mode} on cpu: out of memory; ") as error:
        make_tracker("cotracker", mode=mode, **stand_in)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_gpu_that_is_too_small_is_found_out_before_the_first_frame(stand_in, monkeypatch, mode):
    # The meta device in the place of a GPU.
    monkeypatch.setattr(cotracker, "parse_device", lambda *_: torch.device("meta"))
    monkeypatch.setattr(Predictor, "full_at", "running")
    with pytest.raises(InputError, match="^warm-up of cotracker on meta: out of memory; "):
        make_tracker("cotracker", mode=mode, **stand_in)


@pytest.mark.parametrize(("mode", "frames_each"), [("offline", [5]), ("online", [16, 16])])
def test_the_warm_up_is_as_large_as_what_comes(stand_in, monkeypatch, mode, frames_each):
    monkeypatch.setattr(cotracker, "parse_device", lambda *_: torch.device("meta"))
    tracker = make_tracker("cotracker", buffer=5, mode=mode, **stand_in)
    calls = tracker._predictor.calls
    assert [call["video"].shape[1] for call in calls] == frames_each
    assert calls[0]["queries"].shape == (1, 8, 3)


def test_too_little_memory_for_a_frame_is_one_line_and_the_next_frame_is_tracked(stand_in, monkeypatch):
    tracker = make_tracker("cotracker", **stand_in)
    first, second, third = frames(3)
    tracker.update(first, 1)
    monkeypatch.setattr(Predictor, "full_at", "running")
    with pytest.raises(InputError, match="^cotracker on cpu: out of memory; "):
        tracker.update(second, 2)
    monkeypatch.setattr(Predictor, "full_at", "")
    assert tracker.update(third, 3).frame_stamps.tolist() == [1, 2, 3]


def test_an_online_video_that_memory_cut_short_begins_anew(stand_in, monkeypatch):
    tracker = make_tracker("cotracker", mode="online", **stand_in)
    for stamp, rgb in enumerate(frames(24)):
        monkeypatch.setattr(Predictor, "full_at", "running" if stamp == 15 else "")
        if stamp == 15:
            with pytest.raises(InputError, match="out of memory"):
                tracker.update(rgb, stamp)
        else:
            tracker.update(rgb, stamp)
    assert [call.get("is_first_step", False) for call in tracker._predictor.calls] == [True, True, False]


def test_the_thread_sleeps_until_the_device_has_the_points(stand_in, monkeypatch):
    steps, fetch = [], torch.Tensor.cpu
    monkeypatch.setattr(cotracker, "wait_for_device", lambda _: steps.append("waited"))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: steps.append("fetched") or fetch(tensor))
    tracker = make_tracker("cotracker", **stand_in)
    for stamp, rgb in enumerate(frames(2)):
        tracker.update(rgb, stamp)
    assert steps == ["waited", "fetched", "fetched"]


def test_only_the_newest_frame_is_sent_and_as_bytes(stand_in, monkeypatch):
    sent = []
    send = torch.Tensor.to

    def noted(tensor, *given, **named):
        sent.append((tensor.dtype, tuple(tensor.shape)))
        return send(tensor, *given, **named)

    tracker = make_tracker("cotracker", **stand_in)
    pictures = frames(4)
    for stamp, rgb in enumerate(pictures[:3]):
        tracker.update(rgb, stamp)
    monkeypatch.setattr(torch.Tensor, "to", noted)
    tracker.update(pictures[3], 3)
    assert [each for each in sent if len(each[1]) > 2 and each[1][-1] == 3 and each[1][0] > 1] == [
        (torch.uint8, pictures[3].shape)
    ]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
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
