"""What a probe asks of latent actions, and what it compares them with."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.learning.latent.latent_probe import (
    CHANGE,
    CHANGE_WITH_DEPTH,
    CODES,
    PRESENT,
    UNTRAINED,
    probe_errors,
    probe_json,
    probe_rows,
    probe_table,
    probed_frames,
)
from stvla_ros.policy.keyframes import TARGETS, find_keyframes
from stvla_ros.policy.samples import Samples

SECONDS = (0.2, 0.8)
SIZE = 16


def walks(episodes: int = 8, frames: int = 40, noise: bool = True) -> Samples:
    """A bright dot that is where the arm is, at a depth that is its height; the way is random."""
    random = np.random.default_rng(0)
    count = episodes * frames
    executed = np.zeros((count, 7), np.float32)
    executed[:, :3] = 0.04 * random.normal(size=(count, 3))
    states = np.zeros((count, 7), np.float32)
    steps = executed[:, :3].reshape(episodes, frames, 3)
    states[:, :3] = (np.cumsum(steps, axis=1) - steps).reshape(count, 3)
    rows = np.arange(SIZE)
    place = (8 + 12 * states[:, :2]).clip(2, 13)
    near = np.exp(-((rows - place[:, 0, None]) ** 2)[:, None, :] - ((rows - place[:, 1, None]) ** 2)[:, :, None])
    pictures = np.repeat((200 * near)[..., None], 3, axis=3).astype(np.uint8)
    depths = 1.0 + 0.3 * states[:, 2, None, None] * np.ones((1, SIZE, SIZE))
    told = np.zeros_like(executed) if noise else executed
    return Samples(
        prepared={"pictures": pictures, "depths": depths.astype(np.float16)},
        actions=told,
        executed=executed,
        states=states,
        scene_points=np.full((count, 3, 3), np.nan, np.float32),
        stamps=np.tile(np.arange(frames) * 200_000_000, episodes),
        episode=np.repeat(np.arange(episodes), frames),
        last=np.repeat(np.arange(1, episodes + 1) * frames - 1, frames),
        instructions=("",) * episodes,
    )


class Model:
    """Codes that tell x and y of the motion, and nothing else; or nothing at all."""

    config = SimpleNamespace(keyframes_s=SECONDS)

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def encode(self, samples: Samples, rows: np.ndarray) -> Any:
        keyframes, valid = find_keyframes(samples, SECONDS)
        moved = samples.states[keyframes[rows], :2] - samples.states[rows, None, :2]
        noise = np.random.default_rng(1).normal(size=moved.shape)
        codes = np.stack([self.share * moved, noise], axis=2)
        return SimpleNamespace(codes=codes.astype(np.float32), valid=valid[rows])

    def untrained(self, samples: Samples, rows: np.ndarray, seed: int) -> "Model":
        return Model(0.0)


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, float], dict[str, float]]:
    samples = walks()
    rows = probe_rows(Model(), samples, probed_frames(samples, SECONDS, 4000, "walks"))
    return {(row.told_from, row.keyframe_s): {name: each.value for name, each in row.explained.items()} for row in rows}


def test_codes_are_asked_beside_all_that_they_are_compared_with(told) -> None:
    names = (CODES, UNTRAINED, CHANGE, CHANGE_WITH_DEPTH, PRESENT)
    assert list(told) == [(name, seconds) for name in names for seconds in SECONDS]
    assert all(set(values) == set(TARGETS) for values in told.values())


def test_what_is_in_the_codes_is_told_and_what_is_not_is_not(told) -> None:
    for seconds in SECONDS:
        codes, untrained = told[CODES, seconds], told[UNTRAINED, seconds]
        assert min(codes["x"], codes["y"]) > 0.99 and abs(codes["z"]) < 0.2
        assert max(abs(untrained[name]) for name in ("x", "y", "z", "noise")) < 0.2
        # All that was executed is noise here, and z of it is not in the codes.
        assert 0.4 < codes["noise"] < 0.8


def test_the_change_of_depth_tells_the_height_and_that_of_colours_does_not(told) -> None:
    for seconds in SECONDS:
        assert told[CHANGE_WITH_DEPTH, seconds]["z"] > 0.8 > 0.3 > told[CHANGE, seconds]["z"]
        assert told[CHANGE, seconds]["x"] > told[PRESENT, seconds]["x"] + 0.3


def test_targets_that_never_vary_have_no_figure(told) -> None:
    assert all(np.isnan(values[name]) for values in told.values() for name in ("turn", "opening"))


def test_frames_without_all_keyframes_are_not_asked_about() -> None:
    asked = probed_frames(walks(), SECONDS, 4000, "walks")
    assert len(asked.rows) == 8 * 36 and (asked.keyframes - asked.rows[:, None]).tolist() == [[1, 4]] * (8 * 36)
    assert np.isfinite(asked.targets).all()
    assert np.array_equal(asked.episodes, asked.rows // 40)
    assert len(probed_frames(walks(), SECONDS, 100, "walks").rows) == 100


def test_data_that_do_not_tell_the_pose_are_refused() -> None:
    samples = walks(episodes=4)
    samples.states[:80, 0] = np.nan
    with pytest.raises(InputError, match="^source walks: expected at least 3 episodes of 0.8 s .* got 2$"):
        probed_frames(samples, SECONDS, 4000, "walks")


def test_actions_as_executed_have_no_noise_to_tell() -> None:
    samples = walks(noise=False)
    asked = probed_frames(samples, SECONDS, 4000, "walks")
    (errors, _) = probe_errors(asked.targets, asked)
    assert np.isnan(errors.explained(TARGETS["noise"]).value) and errors.explained(TARGETS["z"]).value > 0.99


def test_the_table_and_the_file_say_the_same() -> None:
    samples = walks(episodes=4)
    rows = probe_rows(Model(), samples, probed_frames(samples, SECONDS, 4000, "walks"))
    lines = probe_table(rows).splitlines()
    assert len(lines) == 2 + len(rows) and "| turn |" in lines[0]
    stored = json.loads(json.dumps(probe_json(rows)))
    assert stored[0]["told_from"] == CODES and stored[0]["turn"]["value"] is None
    x = stored[0]["x"]
    assert f"| {CODES} | 0.2 | {x['value']:.2f} ({x['low']:.2f} to {x['high']:.2f}) |" in lines[2]
