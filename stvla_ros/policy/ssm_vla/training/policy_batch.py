"""Prepared frames as the policy's batches: clips for what is to come, the earlier picture, words, chunks."""

from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.samples import Augmentation, Samples
from stvla_ros.policy.ssm_vla.action_scale import scaled
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.training.lam_batch import ClipMaker
from stvla_ros.policy.ssm_vla.words import WordTokenizer


@dataclass(frozen=True, eq=False)
class PolicyBatch:
    """
    :param clip: B clips.
    :param before: earlier pictures, B.
    :param words, spoken: (B, N) int64 ids, and bool, which of them there are.
    :param actions: (B, K, 7) float32 as the flow head knows them; 0 where nothing is known.
    :param valid: (B, K) bool, which of them there are.
    """

    clip: Clip
    before: Scene
    words: torch.Tensor
    spoken: torch.Tensor
    actions: torch.Tensor
    valid: torch.Tensor

    def to(self, device: torch.device) -> "PolicyBatch":
        clip = Clip(self.clip.frames.to(device), self.clip.valid.to(device))
        others = (each.to(device) for each in (self.words, self.spoken, self.actions, self.valid))
        return PolicyBatch(clip, self.before.to(device), *others)


class PolicyBatchMaker(ClipMaker):
    """
    :param samples: prepared frames. Those whose actions are NaN have none.
    :param keyframes_s: times of the keyframes, seconds after the current frame.
    :param before_s: age of the earlier picture, seconds.
    :param chunk: number of actions in a chunk, K.
    :param words: tokenizer of the checkpoint.
    :param statistics: statistics of the training set.
    """

    def __init__(
        self,
        samples: Samples,
        keyframes_s: tuple[float, ...],
        before_s: float,
        chunk: int,
        words: WordTokenizer,
        statistics: ActionStatistics,
    ) -> None:
        super().__init__(samples, keyframes_s)
        self._before_s, self._chunk = before_s, chunk
        self._known = np.isfinite(samples.actions).all(axis=1)
        self._scaled = np.zeros(samples.actions.shape, np.float32)
        self._scaled[self._known] = scaled(samples.actions[self._known], statistics)
        texts = set(samples.instructions)
        self._words = {text: words.encode(text) if text.strip() else words.nothing() for text in texts}

    def make(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> PolicyBatch:
        """As ``Trainable.batch``."""
        samples = self._samples
        steps, there = samples.chunks(indices, self._chunk)
        # What follows an action that nobody knows is no chunk of this frame's.
        valid = there & np.logical_and.accumulate(self._known[steps], axis=1)
        words, spoken = padded_words([self._words[text] for text in samples.texts(indices)])
        return PolicyBatch(
            self.clip(indices, augmentation),
            self.frames(samples.before(indices, self._before_s), augmentation),
            words,
            spoken,
            torch.from_numpy(np.where(valid[..., None], self._scaled[steps], 0.0).astype(np.float32)),
            torch.from_numpy(valid),
        )


def padded_words(texts: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and which of them there are, (B, N) each; the padding is at the end."""
    longest = max(map(len, texts))
    ids, spoken = (
        torch.zeros(len(texts), longest, dtype=torch.int64),
        torch.zeros(len(texts), longest, dtype=torch.bool),
    )
    for row, text in enumerate(texts):
        ids[row, : len(text)], spoken[row, : len(text)] = torch.from_numpy(text), True
    return ids, spoken
