"""The right answers of the network, and the loss of its own answers.

With smoothing s > 0 the right answer is a distribution over the legal tokens: exp(-d^2 / 2 s^2), with d the distance
between the token's decoded value and the action, in units of the normalised action. A token beside the right one is
then nearly as good, and learning about one token helps its neighbours. Otherwise each of the 4096 translations would
need demonstrations of its own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.actions.consensus import token_places
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions

# Rotations count less in the smoothing's distance: 0.5 makes their bins as coarse as the translations'.
_ROTATION_SCALE = 0.5


@dataclass(frozen=True)
class TokenLosses:
    """
    :param total: scalar to be minimised.
    :param parts: parts of the total by name, without weights.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


class ChunkLoss:
    """Cross-entropy over the legal tokens of a chunk.

    :param tokenizer: tokenizer with the checkpoint's bins.
    :param config: options with the smoothing and the gripper's weight.
    """

    def __init__(self, tokenizer: ActionTokenizer, config: SpatialVlaOptions, device: torch.device) -> None:
        self._config = config
        ranges = tokenizer.legal_ranges
        self._first = [first for first, _ in ranges]
        translations, rotations = token_places(tokenizer)
        self._translations = torch.tensor(translations, dtype=torch.float32, device=device)
        self._rotations = torch.tensor(rotations, dtype=torch.float32, device=device) * _ROTATION_SCALE

    def __call__(
        self, scores: tuple[torch.Tensor, ...], offsets: torch.Tensor, normalized: torch.Tensor, valid: torch.Tensor
    ) -> TokenLosses:
        """
        :param scores: (B, T, tokens) float32 by kind, see ``forward.legal_scores``.
        :param offsets: (B, T, 3) right tokens.
        :param normalized: (B, T, 7) normalized actions that the right tokens stand for.
        :param valid: (B, T) bool, False for actions after the episode's end.
        """
        parts = {
            "translation": self._cross_entropy(scores[0], offsets, 0, normalized[..., :3], self._translations, valid),
            "rotation": self._cross_entropy(
                scores[1], offsets, 1, normalized[..., 3:6] * _ROTATION_SCALE, self._rotations, valid
            ),
            "gripper": _mean(_hard(scores[2], offsets[..., 2] - self._first[2]), valid),
        }
        total = parts["translation"] + parts["rotation"] + self._config.gripper_weight * parts["gripper"]
        return TokenLosses(total, parts)

    def _cross_entropy(self, scores, offsets, kind: int, actions, places, valid) -> torch.Tensor:
        smoothing = self._config.smoothing
        if not smoothing:
            return _mean(_hard(scores, offsets[..., kind] - self._first[kind]), valid)
        squared = torch.cdist(actions.flatten(0, 1), places).square().view(scores.shape)
        logs = -squared / (2.0 * smoothing**2)
        wanted = torch.softmax(logs, dim=-1)
        # Less its smallest possible value, the entropy of the wanted distribution: 0 is then the best value, as without
        # smoothing.
        divergence = (wanted * (torch.log_softmax(logs, dim=-1) - torch.log_softmax(scores, dim=-1))).sum(dim=-1)
        return _mean(divergence, valid)


def _hard(scores: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(scores.flatten(0, 1), right.flatten(), reduction="none").view(right.shape)


def _mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return (values * valid).sum() / valid.sum().clamp(min=1)
