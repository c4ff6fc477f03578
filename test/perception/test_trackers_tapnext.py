"""The TAPNext adapter: its errors always; its behaviour, with random weights, where the package is installed."""

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from stvla_ros.errors import InputError  # noqa: E402
from stvla_ros.perception.trackers import make_tracker, tapnext  # noqa: E402
from stvla_ros.perception.trackers.grid import free_grid_points, grid_points  # noqa: E402

installed = all(importlib.util.find_spec(name) is not None for name in ("tapnet", "torchvision", "einops"))
needs_tapnext = pytest.mark.skipif(not installed, reason="the tapnet package is not installed")
WIDTH, HEIGHT = 320, 160


def frame(x: float, y: float) -> np.ndarray:
    """A picture of 320x160 with one white square whose centre is at (x, y)."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5] = 255
    return picture


class Network(torch.nn.Module):
    """Stands in for the authors' network, which is not among the tests' packages, with its ways of giving and taking:
    all points move as the bright spot does, and those that came into the left tenth of the picture are hidden.
    """

    full = False

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.runs: list[int] = []  # points of each run, as they began

    def forward(self, video: torch.Tensor, query_points: torch.Tensor | None = None, state: Any = None) -> tuple:
        if self.full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of …")
        assert video.shape[:2] == (1, 1) and video.shape[4] == 3 and -1.0 <= video.min() <= video.max() <= 1.0
        light = (video[0, 0, ..., 0] + 1.0).clamp(min=0.0)
        scale = 256.0 / light.shape[0]
        rows, columns = (torch.arange(length) + 0.5 for length in light.shape)
        spot = torch.stack([(light.sum(1) * rows).sum(), (light.sum(0) * columns).sum()]) / light.sum() * scale
        if state is None:
            assert query_points is not None and (query_points[..., 0] == 0).all()
            self.runs.append(query_points.shape[1])
            state = (spot, query_points[0, :, 1:])
        else:
            assert query_points is None
        places = state[1] + spot - state[0]
        seen = places[:, 1:] - 25.6
        return places[None, None], torch.zeros(1), seen[None, None], state


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path) -> dict[str, Any]:
    """Parameters of a tracker that holds a ``Network``."""
    utils = SimpleNamespace(restore_model_from_jax_checkpoint=lambda model, file: model)
    modules = {
        "tapnet": SimpleNamespace(),
        "tapnet.tapnext": SimpleNamespace(),
        "tapnet.tapnext.tapnext_torch": SimpleNamespace(TAPNext=Network),
        "tapnet.tapnext.tapnext_torch_utils": utils,
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    file = tmp_path / "weights.pt"
    torch.save({"state_dict": {"tapnext.weight": torch.ones(1)}}, file)
    return {"checkpoint": str(file), "grid_size": 3}


@pytest.mark.skipif(installed, reason="the tapnet package is installed")
def test_missing_package_is_one_line_that_says_how_to_get_it() -> None:
    with pytest.raises(InputError, match="not installed.*pip install.*tapnet.*Apache-2.0") as error:
        make_tracker("tapnext")
    assert "\n" not in str(error.value)


def test_missing_checkpoint_is_one_line_that_says_how_to_get_it(stand_in: dict) -> None:
    with pytest.raises(InputError, match=r"^tapnext checkpoint: expected a file.*'/nowhere/w\.pt'.*https") as error:
        make_tracker("tapnext", checkpoint="/nowhere/w.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["weights.pt", "weights.npz"])
@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_file_that_holds_no_weights_is_an_error(stand_in: dict, monkeypatch, tmp_path, name, content) -> None:
    monkeypatch.setattr(
        sys.modules["tapnet.tapnext.tapnext_torch_utils"],
        "restore_model_from_jax_checkpoint",
        lambda model, file: np.load(file),
    )
    file = tmp_path / f"bad_{name}"
    file.write_bytes(content)
    with pytest.raises(InputError, match="holds no weights of TAPNext"):
        make_tracker("tapnext", checkpoint=str(file))


def test_weights_of_another_network_are_an_error(stand_in: dict, tmp_path) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="holds no weights of TAPNext.*other"):
        make_tracker("tapnext", checkpoint=str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("name", "value"), [("picture_size", 300), ("grid_size", 0), ("reseed_every", 1), ("device", "abacus")]
)
def test_a_parameter_out_of_range_is_an_error_naming_it(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"tapnext {name}"):
        make_tracker("tapnext", **{name: value})


@pytest.mark.parametrize("picture_size", [256, 512])
def test_points_move_as_the_picture_does_in_the_cameras_pixels(stand_in: dict, picture_size: int) -> None:
    tracker = make_tracker("tapnext", buffer=8, picture_size=picture_size, **stand_in)
    for step in range(6):
        traces = tracker.update(frame(100 + 12 * step, 60 + 6 * step), step)
    assert tracker._network.weight.item() == 1.0
    assert traces.points.shape == (6, 9, 2)
    np.testing.assert_array_equal(traces.visible, ((traces.points[..., 0] <= 319) & (traces.points[..., 1] <= 159)))
    np.testing.assert_allclose(traces.points[0], grid_points(3, (WIDTH, HEIGHT)), atol=1e-3)
    np.testing.assert_allclose(traces.points[-1] - traces.points[0], np.tile((60.0, 30.0), (9, 1)), atol=0.6)
    assert tracker._network.runs == [9]  # one run, however many frames


def test_a_hidden_point_is_followed_but_not_seen(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=8, **stand_in)
    for step in range(4):
        traces = tracker.update(frame(200 - 12 * step, 80), step)
    # The left column, at 53 px, went to 17: the network hides it.
    assert traces.visible[-1].tolist() == [False, True, True] * 3
    assert traces.visible[0].all()


def test_gaps_are_filled_and_hidden_points_given_up_in_a_new_run(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=8, reseed_every=4, **stand_in)
    for step in range(6):
        traces = tracker.update(frame(200 - 12 * step, 80), step)
    first, now = set(range(9)), set(traces.ids.tolist())
    # The three that the network hides, and the whole grid: all others went more than half a cell.
    assert len(first - now) == 3 and len(now - first) == 9
    assert len(tracker._network.runs) == 2
    # Those that stayed went on as the picture did, across the runs.
    stayed = np.isin(traces.ids, sorted(first))
    moved = traces.points[-1, stayed] - grid_points(3, (WIDTH, HEIGHT))[traces.ids[stayed]]
    np.testing.assert_allclose(moved, np.tile((-60.0, 0.0), (6, 1)), atol=0.6)


def test_asked_points_are_followed_from_their_frame_on_and_never_given_up(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=8, reseed_every=3, **stand_in)
    tracker.update(frame(200, 80), 0)
    asked = tracker.query(np.array([[50.0, 30.0]]))
    for step in range(1, 8):
        traces = tracker.update(frame(200 - 12 * step, 80), step)
    place = traces.points[-1, traces.ids.tolist().index(asked[0])]
    np.testing.assert_allclose(place, (50.0 - 84.0, 30.0), atol=0.8)
    assert not traces.visible[-1, traces.ids.tolist().index(asked[0])]


def test_a_reset_begins_anew(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=4, **stand_in)
    before = [tracker.update(frame(100 + 9 * step, 60), step) for step in range(3)][-1]
    tracker.reset()
    after = [tracker.update(frame(100 + 9 * step, 60), step) for step in range(3)][-1]
    np.testing.assert_array_equal(before.points, after.points)
    np.testing.assert_array_equal(before.ids, after.ids)
    assert tracker._network.runs == [9, 9]


def test_a_picture_of_another_size_begins_anew(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=4, **stand_in)
    tracker.update(frame(100, 60), 0)
    traces = tracker.update(np.full((64, 64, 3), 7, np.uint8), 1)
    assert traces.image_size == (64, 64) and (traces.points < 64).all() and len(traces.frame_stamps) == 1


def test_places_that_are_no_numbers_leave_a_point_where_it_was_and_unseen(stand_in: dict) -> None:
    tracker = make_tracker("tapnext", buffer=4, **stand_in)
    tracker.update(frame(100, 60), 0)
    traces = tracker.update(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 1)  # no spot: 0 / 0
    np.testing.assert_allclose(traces.points[-1], grid_points(3, (WIDTH, HEIGHT)))
    assert not traces.visible[-1].any()


def test_too_little_memory_for_a_frame_is_one_line_and_the_next_frame_is_tracked(stand_in: dict, monkeypatch) -> None:
    tracker = make_tracker("tapnext", **stand_in)
    tracker.update(frame(100, 60), 1)
    tracker.update(frame(112, 60), 2)
    monkeypatch.setattr(Network, "full", True)
    with pytest.raises(InputError, match="^tapnext on cpu: out of memory; ") as error:
        tracker.update(frame(124, 60), 3)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(Network, "full", False)
    traces = tracker.update(frame(136, 60), 4)
    assert traces.frame_stamps.tolist() == [1, 2, 4]
    np.testing.assert_allclose(traces.points[-1] - traces.points[0], np.tile((36.0, 0.0), (9, 1)), atol=0.6)


def test_a_gpu_that_is_too_small_is_found_out_before_the_first_frame(stand_in: dict, monkeypatch) -> None:
    # The meta device in the place of a GPU.
    monkeypatch.setattr(tapnext, "parse_device", lambda *_: torch.device("meta"))
    monkeypatch.setattr(Network, "full", True)
    with pytest.raises(InputError, match="^warm-up of tapnext on meta: out of memory; "):
        make_tracker("tapnext", **stand_in)


def test_no_more_points_are_followed_than_twice_the_grid() -> None:
    assert len(free_grid_points(3, (90, 90), np.zeros((0, 2)), 0)) == 9
    assert len(free_grid_points(3, (90, 90), np.full((18, 2), -500.0), 18)) == 0
    assert len(free_grid_points(3, (90, 90), np.full((14, 2), -500.0), 14)) == 4
    np.testing.assert_array_equal(free_grid_points(3, (90, 90), grid_points(3, (90, 90))[1:], 8), [[14.5, 14.5]])


@needs_tapnext
@pytest.mark.slow
def test_the_authors_network_follows_asked_points_at_constant_cost(tmp_path) -> None:
    from tapnet.tapnext.tapnext_torch import TAPNext

    torch.manual_seed(0)
    network = TAPNext((256, 256))
    for weights in network.parameters():  # some are not initialised at all
        torch.nn.init.normal_(weights, std=0.02)
    torch.save({"state_dict": {f"tapnext.{name}": each for name, each in network.state_dict().items()}}, tmp_path / "w")
    tracker = make_tracker("tapnext", buffer=3, checkpoint=str(tmp_path / "w"), grid_size=2)
    sizes = []
    for step in range(4):
        traces = tracker.update(frame(100 + 9 * step, 60), step)
        if step == 0:
            asked = tracker.query(np.array([[20.0, 30.0]]))
        if tracker._state is not None:
            sizes.append(sum(part.numel() for cache in tracker._state.hidden_state for part in cache))
    assert traces.points.shape == (3, traces.num_points, 2) and asked[0] in traces.ids
    assert np.isfinite(traces.points).all() and len(set(sizes[-2:])) == 1
