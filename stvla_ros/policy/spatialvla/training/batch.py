"""Prepared frames as the tensors of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.learning.training.augmentation import augment
from stvla_ros.learning.training.config import AugmentationConfig
from stvla_ros.learning.training.prepared_frames import Samples
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer

_AUGMENTATION = 2


@dataclass(frozen=True)
class Batch:
    """B samples, T actions a chunk; see forward.py, targets.py and scene_loss.py for the fields."""

    pixels: torch.Tensor
    depth: torch.Tensor
    intrinsics: torch.Tensor
    ids: torch.Tensor
    lengths: torch.Tensor
    offsets: torch.Tensor
    normalized: torch.Tensor
    valid: torch.Tensor
    scene_points: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class BatchMaker:
    """
    :param samples: prepared frames.
    :param prompt_tokenizer: of the checkpoint.
    :param action_tokenizer: with the bins to be trained.
    :param statistics: of the training set.
    """

    def __init__(
        self,
        samples: Samples,
        prompt_tokenizer: PromptTokenizer,
        action_tokenizer: ActionTokenizer,
        statistics: ActionStatistics,
    ) -> None:
        self._samples = samples
        self._normalized = statistics.normalize(samples.actions)
        self._offsets = action_tokenizer.encode(self._normalized)
        self._chunk = action_tokenizer.chunk_size
        prompts = {text: prompt_tokenizer.encode(text) for text in set(samples.instructions)}
        longest = max(len(ids) for ids in prompts.values())
        # Padded with the prompt's last token: no token sees it, any text token will do.
        self._ids = {text: np.pad(ids, (0, longest - len(ids)), mode="edge") for text, ids in prompts.items()}
        self._lengths = {text: len(ids) for text, ids in prompts.items()}

    def make(
        self, indices: Sequence[int] | np.ndarray, augmentation: AugmentationConfig | None = None, entropy: int = 0
    ) -> Batch:
        """
        :param augmentation: None for the samples as they are.
        :param entropy: decides the random numbers of the augmentation.
        """
        samples, indices = self._samples, np.asarray(indices)
        pictures = samples.pictures[indices]
        depths = samples.depths[indices].astype(np.float32)
        intrinsics = samples.intrinsics[indices]
        if augmentation is not None:
            random = np.random.default_rng([_AUGMENTATION, entropy])
            pictures, depths, intrinsics = augment(pictures, depths, intrinsics, augmentation, random)
        pixels = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255.0)
        texts = [samples.instructions[samples.episode[index]] for index in indices]
        steps = indices[:, None] + np.arange(self._chunk)
        valid = steps <= samples.last[indices, None]
        steps = np.where(valid, steps, indices[:, None])
        return Batch(
            pixels=torch.from_numpy(pixels),
            depth=torch.from_numpy(depths),
            intrinsics=torch.from_numpy(intrinsics),
            ids=torch.from_numpy(np.stack([self._ids[text] for text in texts])),
            lengths=torch.tensor([self._lengths[text] for text in texts]),
            offsets=torch.from_numpy(self._offsets[steps]),
            normalized=torch.from_numpy(self._normalized[steps]).float(),
            valid=torch.from_numpy(valid),
            scene_points=torch.from_numpy(samples.scene_points[indices]),
        )
