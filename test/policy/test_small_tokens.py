"""What the small checkpoint answered on stored pictures before it became one family among others.

The cases are those whose tokens stay the same when every grey value of the picture is changed by up to one at random:
what another processor rounds otherwise is a thousand times less.
"""

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stvla_ros.policy import load_policy
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.registry import make_policy
from stvla_ros.shared_files import default_checkpoint

PICTURE = Path(__file__).parents[2] / "docs/images/stack_cube.jpg"
K = np.array([[400.0, 0, 160], [0, 400.0, 120], [0, 0, 1]])
STACK, EGGPLANT, RED = (
    "stack the green block on the yellow block",
    "put eggplant into yellow basket",
    "pick up the red cube",
)
TOKENS = {
    (0, STACK): [[2350, 5430, 8193], [2093, 5430, 8193], [2091, 5447, 8193], [2338, 5703, 8193]],
    (0, RED): [[62, 6734, 8193], [62, 6719, 8193], [70, 6479, 8193], [86, 6239, 8193]],
    (100, RED): [[3016, 5912, 8192], [53, 6167, 8192], [59, 5927, 8193], [75, 5672, 8193]],
    (200, EGGPLANT): [[54, 4362, 8193], [54, 4361, 8193], [52, 4376, 8193], [314, 4392, 8193]],
}


@cache
def predictor() -> Any:
    return load_policy(str(default_checkpoint()))


def seen(left: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of the picture, and a table's depth."""
    whole = cv2.cvtColor(cv2.imread(str(PICTURE)), cv2.COLOR_BGR2RGB)
    depth = np.linspace(0.9, 0.5, 240, dtype=np.float32)[:, None] * np.ones((1, 320), np.float32)
    return np.ascontiguousarray(whole[:240, left : left + 320]), depth


@pytest.mark.parametrize(("left", "text"), TOKENS)
def test_tokens_are_those_of_before(left: int, text: str) -> None:
    rgb, depth = seen(left)
    assert predictor().predict(rgb, text, depth, K).tokens.tolist() == TOKENS[left, text]


def test_the_policy_stvla_moves_as_the_predictor_says() -> None:
    rgb, depth = seen(0)
    policy = make_policy("stvla", threads=1)
    policy.load()
    actions = policy.predict(PolicyInput.of(0, rgb, depth, K, STACK)).actions
    expected = predictor().predict(rgb, STACK, depth, K).actions
    np.testing.assert_array_equal([action.translation for action in actions], expected[:, :3])
    assert [action.gripper for action in actions] == expected[:, 6].tolist()
