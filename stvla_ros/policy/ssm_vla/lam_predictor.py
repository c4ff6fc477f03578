"""The latent action model in use: prepared frames in, codes or pictures out."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.samples import Samples
from stvla_ros.policy.ssm_vla.checkpoint import load_model
from stvla_ros.policy.ssm_vla.config import LamConfig
from stvla_ros.policy.ssm_vla.create import random_model
from stvla_ros.policy.ssm_vla.lam.frame_decoder import Rebuilt
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.tokens import load_frozen
from stvla_ros.policy.ssm_vla.training.lam_batch import ClipMaker, LamPreparation
from stvla_ros.policy.ssm_vla.training.losses import explained, target_of

_BATCH = 16


@dataclass(frozen=True, eq=False)
class LatentActions:
    """What N frames' keyframes are made of.

    :param codes: (N, T, Q, C) float32 of length 1.
    :param ids: (N, T, Q) int64 numbers of the codebook's vectors; all 0 without a codebook.
    :param valid: (N, T) bool, whether the keyframe is there; the others' codes mean nothing.
    """

    codes: np.ndarray
    ids: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class ShownFrames:
    """Pictures of N moments, K of each.

    :param rgb: (N, K, S, S, 3) uint8.
    :param depth: (N, K, S, S) float32 metres, 0 where unknown; None of a model without depth.
    """

    rgb: np.ndarray
    depth: np.ndarray | None


class LamPredictor:
    """
    :param folder: folder of the checkpoint.
    :param device: device that it computes on.
    :raises InputError: for a checkpoint that cannot be used.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.model = load_model(folder, device)
        self._device = device

    def untrained(self, samples: Samples, indices: np.ndarray, seed: int) -> "LamPredictor":
        """A model of the same configuration that has learnt nothing, to compare with. Its codebook is where a training
        begins: vectors of what falls to it.

        :param samples: prepared frames.
        :param indices: (N,) numbers of frames that the codebook begins at.
        :param seed: seed of the weights.
        """
        other = copy.copy(self)
        other.model = random_model(self.config, seed, load_frozen(self.config, self._device)).to(self._device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            other.model.train()
            for clip in other._clips(samples, indices):
                with torch.enable_grad():
                    other.model.encode(clip)
            other.model.quantiser.follow()
        other.model.eval().requires_grad_(False)
        return other

    @property
    def config(self) -> LamConfig:
        return self.model.config

    def preparation(self, resize: str) -> LamPreparation:
        """What is kept of each frame for it.

        :param resize: way in which pictures come to its size, one of ``RESIZE_METHODS``.
        """
        return LamPreparation(self.model.frame_size, resize)

    def encode(self, samples: Samples, indices: np.ndarray) -> LatentActions:
        """The latent actions of frames.

        :param samples: prepared frames.
        :param indices: (N,) numbers of frames.
        """
        found = []
        for clip in self._clips(samples, indices):
            quantised = self.model.encode(clip)
            found.append([each.cpu().numpy() for each in (quantised.codes, quantised.ids, clip.valid)])
        return LatentActions(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def decode(self, samples: Samples, indices: np.ndarray, codes: np.ndarray) -> ShownFrames:
        """What codes make of frames: of their own, or of others.

        :param samples: prepared frames.
        :param indices: (N,) numbers of the frames that are now.
        :param codes: (N, T, Q, C) codes.
        :raises InputError: for codes of another model.
        """
        config = self.config
        expected = (len(indices), len(config.keyframes_s), config.queries, config.code_width)
        if codes.shape != expected:
            raise InputError(f"codes: expected the shape {expected} of this model's, got {codes.shape}")
        shown, first = [], 0
        for clip in self._clips(samples, indices):
            count = len(clip.valid)
            given = torch.from_numpy(codes[first : first + count]).to(self._device, torch.float32)
            shown.append(_shown(self.model.decode(clip.frame(0), given)))
            first += count
        return _joined(shown)

    def seen(self, samples: Samples, indices: np.ndarray) -> ShownFrames:
        """What was there: the frames and their keyframes, K = T + 1; of a missing keyframe the frame again.

        :param samples: prepared frames.
        :param indices: (N,) numbers of frames.
        """
        shown = []
        for clip in self._clips(samples, indices):
            frames = clip.resized(self.config.picture_size).frames
            batch = (len(clip.valid), -1)
            rgb = (255.0 * frames.rgb).round().to(torch.uint8).permute(0, 2, 3, 1).unflatten(0, batch)
            shown.append(ShownFrames(rgb.cpu().numpy(), frames.depth.unflatten(0, batch).cpu().numpy()))
        return _joined(shown)

    def explained(self, samples: Samples, indices: np.ndarray) -> dict[str, float]:
        """The share of the changes that the codes tell, of colour and depth: 0 is as good as a copy of the present.

        :param samples: prepared frames.
        :param indices: (N,) numbers of frames.
        """
        figures: list[dict[str, torch.Tensor]] = []
        for clip in self._clips(samples, indices):
            rebuilt = self.model.decode(clip.frame(0), self.model.encode(clip).codes)
            small = clip.resized(self.config.picture_size)
            figures.append(explained(rebuilt, small, target_of(small, self.config.rebuilds_depth)))
        return {name: float(torch.stack([each[name] for each in figures]).mean()) for name in figures[0]}

    def _clips(self, samples: Samples, indices: np.ndarray) -> Iterator[Clip]:
        maker = ClipMaker(samples, self.config.keyframes_s)
        with torch.no_grad():
            for first in range(0, len(indices), _BATCH):
                clip = maker.clip(indices[first : first + _BATCH])
                yield Clip(clip.frames.to(self._device), clip.valid.to(self._device))


def _shown(rebuilt: Rebuilt) -> ShownFrames:
    rgb = (255.0 * rebuilt.rgb.clamp(0.0, 1.0)).round().to(torch.uint8).permute(0, 1, 3, 4, 2)
    depth = rebuilt.depth()
    return ShownFrames(rgb.cpu().numpy(), None if depth is None else depth.cpu().numpy())


def _joined(shown: list[ShownFrames]) -> ShownFrames:
    depths = [each.depth for each in shown if each.depth is not None]
    return ShownFrames(np.concatenate([each.rgb for each in shown]), np.concatenate(depths) if depths else None)
