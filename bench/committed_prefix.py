"""Does it help to tell a policy the commands that will run before its answer comes? `python -m bench.committed_prefix`
with the arguments of `stvla eval`, on the random placements of `bench.held_out`.

The first ``STVLA_COMMITTED`` actions (3) of every chunk are the commands that the executor has planned anyway: their
translations and rotations are the decoder's tokens, and it goes on from there (training-time RTC, arXiv 2512.05964,
without a training of its own: a training's decoder sees the executed commands before every action). What the gripper is
to do stays the policy's own.
"""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from bench.eval_command import run_command
from bench.held_out import run
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.action_statistics import select_statistics
from stvla_ros.policy.base import Answer, PolicyInput
from stvla_ros.policy.spatialvla.actions.action_tokenizer import TOKENS_PER_ACTION
from stvla_ros.policy.spatialvla.actions.consensus import Consensus
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy

_STEPS = int(os.environ.get("STVLA_COMMITTED", "3"))


class _Forcing:
    """A rule that says the given tokens first, and then what ``rule`` says.

    :ivar tokens: (n, 3) indices in the legal ranges.
    """

    def __init__(self, rule: Consensus) -> None:
        self._rule, self._said, self.tokens = rule, 0, np.zeros((0, TOKENS_PER_ACTION), np.int64)

    def begin(self, tokens: np.ndarray) -> None:
        self.tokens, self._said = tokens, 0

    def choose(self, scores: torch.Tensor, kind: int) -> torch.Tensor:
        action, self._said = self._said // TOKENS_PER_ACTION, self._said + 1
        if action < len(self.tokens) and kind < TOKENS_PER_ACTION - 1:
            return torch.tensor([int(self.tokens[action, kind])])
        return self._rule.choose(scores, kind)


def _told(policy: Any, committed: tuple[EndEffectorAction, ...]) -> np.ndarray:
    """(n, 3) indices of their tokens in the legal ranges."""
    predictor = policy._predictor
    _, statistics = select_statistics(predictor.statistics, policy._unnorm_key)
    rows = [
        [*each.translation, *Rotation.from_rotvec(each.rotation).as_euler("xyz"), each.gripper] for each in committed
    ]
    tokenizer = predictor.action_tokenizer
    firsts = [first for first, _ in tokenizer.legal_ranges]
    return tokenizer.encode(statistics.normalize(np.reshape(rows, (-1, 7)))) - firsts


def _patch() -> None:
    # Evaluations run in processes of their own, which import this module.
    load, predict = SpatialVlaPolicy._load, SpatialVlaPolicy.predict

    def load_and_force(self: Any, folder: Any, options: Any) -> Any:
        predictor = load(self, folder, options)
        decoder = predictor._predict_tokens._decoder
        self.forcing = _Forcing(decoder._consensus)
        decoder._consensus = self.forcing  # type: ignore[assignment]
        self.needs = replace(self.needs, committed=True)
        return predictor

    def predict_on(self: Any, observation: PolicyInput) -> Answer:
        committed = observation.committed[:_STEPS]
        self.forcing.begin(_told(self, committed))
        actions = list(predict(self, observation).actions)
        for place, given in enumerate(committed):  # without the bins' rounding
            actions[place] = replace(given, gripper=actions[place].gripper)
        return Answer(tuple(actions))

    SpatialVlaPolicy._load, SpatialVlaPolicy.predict = load_and_force, predict_on  # type: ignore[method-assign]


_patch()

if __name__ == "__main__":
    run_command("committed_prefix", run)
