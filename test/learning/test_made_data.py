"""Data sets that are made of others: in changing light, for an inverse model, and with the actions that it tells."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import training_data
from made_demonstrations import differing_parts

from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.demonstrations import pseudo_labels
from stvla_ros.learning.demonstrations.changing_light import change_light, write_in_changing_light
from stvla_ros.learning.demonstrations.pseudo_labels import (
    after_the_fact,
    inferred_actions,
    write_after_the_fact,
    write_pseudo_labels,
)


def grey(frames: int = 8) -> tuple[np.ndarray, np.ndarray]:
    return np.full((frames, 48, 64, 3), 120, np.uint8), np.arange(frames) * 200_000_000


# --- light --------------------------------------------------------------------------------------------------------


def test_colours_flicker_and_shadows_move() -> None:
    rgb, stamps = grey()
    lit = change_light(rgb, stamps, np.random.default_rng(0)).astype(float)
    means = lit.mean(axis=(1, 2))
    assert (means.std(axis=0) > 2).all() and not np.allclose(means[:, 0] / means[:, 1], means[0, 0] / means[0, 1])
    darkest = [np.unravel_index(frame.sum(axis=2).argmin(), frame.shape[:2]) for frame in lit]
    assert len(set(darkest)) > 1
    for frame in lit:
        assert frame.sum(axis=2).min() < 0.85 * frame.sum(axis=2).max()


def test_the_same_random_numbers_are_the_same_light() -> None:
    rgb, stamps = grey()
    one, again, other = (change_light(rgb, stamps, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_light_leaves_all_but_the_colours_alone(tmp_path: Path) -> None:
    training_data.usual(tmp_path / "set")
    write_in_changing_light(tmp_path / "set", tmp_path / "lit", 0)
    plain, lit = LeRobotReader(tmp_path / "set"), LeRobotReader(tmp_path / "lit")
    assert len(lit) == len(plain)
    assert {
        part for number in range(len(lit)) for part in differing_parts(plain.episode(number), lit.episode(number))
    } == {"rgb"}


# --- inverse model ------------------------------------------------------------------------------------------------


def test_an_action_stands_at_the_frame_that_it_led_to() -> None:
    episode = training_data.demonstration(0)
    later = after_the_fact(episode)
    assert np.array_equal(later.action[1:], episode.action[:-1])
    assert not later.action[0, :6].any() and later.action[0, 6] == episode.action[0, 6]
    assert np.array_equal(later.rgb, episode.rgb)


class Inverse:
    """Tells from two pictures how much brighter the second is, as x; and that the gripper is open."""

    def reset(self) -> None:
        pass

    def predict(self, rgb: np.ndarray, instruction: str, depth: Any, intrinsics: Any, earlier: Any) -> Any:
        assert depth.dtype == np.float32 and np.isclose(depth, 0.9).all() and instruction.startswith("put")
        brighter = (rgb.mean() - earlier.rgb.mean()) / 1000.0
        return SimpleNamespace(actions=np.array([[brighter, 0, 0, 0, 0, 0, 1.0]]))


def brightening(frames: int = 12, **changes: Any) -> Any:
    rgb = np.repeat(np.cumsum(np.arange(frames))[:, None], 120 * 160 * 3, axis=1).reshape(frames, 120, 160, 3)
    return training_data.demonstration(0, frames, rgb=rgb.astype(np.uint8), **changes)


def test_what_led_to_the_next_frame_is_told_at_each_and_held_at_the_end() -> None:
    told = inferred_actions(Inverse(), brightening())
    assert told.shape == (12, 7) and told.dtype == np.float32
    assert told[:, 0] == pytest.approx(np.array([*range(1, 12), 11]) / 1000.0, abs=1e-6)
    assert (told[:, 6] == 1.0).all()


def test_labelled_episodes_keep_their_actions_and_the_others_get_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudo_labels, "load_policy", lambda checkpoint: Inverse())
    episodes = [brightening(), brightening(), brightening(instruction="put it back")]
    training_data.write(tmp_path / "set", episodes)
    write_pseudo_labels(tmp_path / "set", tmp_path / "model", 1, tmp_path / "told")
    told = LeRobotReader(tmp_path / "told")
    own = [np.array_equal(told.episode(number).action, episodes[number].action) for number in range(3)]
    assert own == [True, False, True]  # one of each instruction
    assert np.array_equal(told.episode(1).action, inferred_actions(Inverse(), episodes[1]))


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    training_data.usual(tmp_path / "set")
    (tmp_path / "there").mkdir()
    write_after_the_fact(tmp_path / "set", tmp_path / "there")
    write_in_changing_light(tmp_path / "set", tmp_path / "there", 0)
    write_pseudo_labels(tmp_path / "set", tmp_path / "nowhere", 1, tmp_path / "there")
    assert not any((tmp_path / "there").iterdir())
