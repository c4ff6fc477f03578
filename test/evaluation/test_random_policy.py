"""The random baseline."""

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.baselines import MAX_ROTATION_RAD, MAX_TRANSLATION_M
from stvla_ros.policy.registry import make_policy

SEEN = PolicyInput.of(0, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), None, "go")


def _drawn(seed: int, count: int) -> np.ndarray:
    """(count, 7) of one policy."""
    policy = make_policy("random", seed=seed)
    chunks = [policy.predict(SEEN).actions for _ in range(count)]
    assert all(len(chunk) == 1 for chunk in chunks)
    return np.array([[*action.translation, *action.rotation, action.gripper] for [action] in chunks])


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    assert np.array_equal(_drawn(3, 20), _drawn(3, 20))
    assert not np.array_equal(_drawn(3, 20), _drawn(4, 20))


def test_a_reset_begins_the_sequence_anew() -> None:
    policy = make_policy("random", seed=3)
    first = policy.predict(SEEN).actions[0].translation
    assert not np.array_equal(policy.predict(SEEN).actions[0].translation, first)
    policy.reset()
    assert np.array_equal(policy.predict(SEEN).actions[0].translation, first)


def test_actions_fill_their_range_evenly() -> None:
    drawn = _drawn(0, 4000)
    for columns, limit in ((slice(0, 3), MAX_TRANSLATION_M), (slice(3, 6), MAX_ROTATION_RAD)):
        share = drawn[:, columns] / limit
        assert np.abs(share).max() <= 1.0
        assert np.abs(share.mean(axis=0)).max() < 0.05
        assert share.std(axis=0) == pytest.approx(np.full(3, 1 / np.sqrt(3)), abs=0.02)
    assert set(drawn[:, 6]) == {0.0, 1.0} and abs(drawn[:, 6].mean() - 0.5) < 0.05


@pytest.mark.parametrize("seed", [-1, 0.5, "a", True])
def test_a_bad_seed_is_named(seed: object) -> None:
    with pytest.raises(InputError, match="^seed: expected a whole number from 0"):
        make_policy("random", seed=seed)
