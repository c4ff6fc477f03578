"""What the small checkpoint answers on stored pictures.

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
# The tokens of translation and rotation of eight actions.
MOTIONS = {
    (200, EGGPLANT): "22 5381  3902 5816  3843 6329  4090 6263  3328 6295  3584 6263  3080 6279  100 6264",
    (250, RED): "38 4336  52 4866  1603 5444  3385 6261  1617 6502  3600 6263  3336 6279  1237 6280",
    (400, STACK): "1574 6215  1326 6519  1583 6519  1581 6296  1581 6008  738 6023  2858 6023  3360 6279",
    (500, RED): "38 4767  2809 5326  2560 6301  132 6541  744 6507  3609 6764  101 6779  2305 6011",
}
OPEN, CLOSED = 8193, 8192
# From which action on the gripper is closed.
CLOSES = {(200, EGGPLANT): 6, (250, RED): 6, (400, STACK): 0}


def tokens_of(key: tuple[int, str]) -> list[list[int]]:
    numbers = list(map(int, MOTIONS[key].split()))
    motions = [numbers[place : place + 2] for place in range(0, len(numbers), 2)]
    return [
        [*motion, CLOSED if number >= CLOSES.get(key, len(motions)) else OPEN] for number, motion in enumerate(motions)
    ]


TOKENS = {key: tokens_of(key) for key in MOTIONS}


@cache
def predictor() -> Any:
    return load_policy(str(default_checkpoint()))


def seen(left: int) -> tuple[np.ndarray, np.ndarray]:
    """A part of the picture, and a table's depth."""
    whole = cv2.cvtColor(cv2.imread(str(PICTURE)), cv2.COLOR_BGR2RGB)
    depth = np.linspace(0.9, 0.5, 240, dtype=np.float32)[:, None] * np.ones((1, 320), np.float32)
    return np.ascontiguousarray(whole[:240, left : left + 320]), depth


@pytest.mark.parametrize(("left", "text"), TOKENS)
def test_tokens_are_those_of_this_checkpoint(left: int, text: str) -> None:
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
