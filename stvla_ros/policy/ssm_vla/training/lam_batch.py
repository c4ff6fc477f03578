"""Prepared frames as clips: the current frame and the keyframes that stamps tell."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import resize_depth
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.kept_frames import (
    DEPTHS,
    INTRINSICS,
    PICTURES,
    as_pixels,
    frame_arrays,
    keep_picture,
    seen_frames,
)
from stvla_ros.policy.keyframes import MOTIONS, evenly, find_keyframes, motions
from stvla_ros.policy.pictures import FARTHEST, scale_intrinsics
from stvla_ros.policy.ridge_probe import LEAST_EPISODES
from stvla_ros.policy.samples import Augmentation, Preparation, Samples
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene

_LABELS = 7
# Frames that a probe looks at during a training: some seconds of it.
_PROBED = 512


@dataclass(frozen=True)
class LamPreparation(Preparation):
    """Pictures (uint8), depth maps (float16 metres, 0 where unknown) and intrinsics (NaN where unknown).

    :param size: side of pictures and depth maps, S.
    :param resize: way in which pictures come to it, one of ``RESIZE_METHODS``.
    """

    takes_unknown_depth = True

    size: int
    resize: str

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], type]]:
        return frame_arrays(self.size)

    def __call__(self, observation: PolicyInput) -> Mapping[str, np.ndarray]:
        seen = observation.picture
        height, width = seen.rgb.shape[:2]
        kept = keep_picture(seen.rgb, self.size, self.resize)
        depth = np.zeros((self.size, self.size), np.float32)
        if seen.depth is not None:
            depth = resize_depth(seen.depth.astype(np.float32), self.size)
        intrinsics = np.full((3, 3), np.nan, np.float32)
        if seen.intrinsics is not None:
            intrinsics = scale_intrinsics(seen.intrinsics, (width, height), self.size)
        return {**kept, DEPTHS: np.where(depth < FARTHEST, depth, 0.0).astype(np.float16), INTRINSICS: intrinsics}


@dataclass(frozen=True, eq=False)
class LamBatch:
    """
    :param clip: B clips.
    :param motion: (B, T, 5) float32 ``MOTIONS`` of the labelled episodes, in deviations of the data; NaN elsewhere.
    """

    clip: Clip
    motion: torch.Tensor

    def to(self, device: torch.device) -> "LamBatch":
        return LamBatch(Clip(self.clip.frames.to(device), self.clip.valid.to(device)), self.motion.to(device))


class ClipMaker:
    """
    :param samples: prepared frames.
    :param keyframes_s: times of the keyframes, seconds after the current frame.
    """

    def __init__(self, samples: Samples, keyframes_s: tuple[float, ...]) -> None:
        self._samples = samples
        self.keyframes, self.valid = find_keyframes(samples, keyframes_s)

    def clip(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> Clip:
        """Clips that begin at these frames; parameters as in ``Trainable.batch``."""
        columns = [indices, *self.keyframes[indices].T]
        # All that is changed is changed alike, in every frame of a clip.
        seen = [seen_frames(self._samples, each, augmentation) for each in columns]
        # A clip's frames one after the other.
        pictures, depths, intrinsics = (
            np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:]) for parts in zip(*seen, strict=True)
        )
        return Clip(_scene(pictures, depths, intrinsics), torch.from_numpy(self.valid[indices]))

    def frames(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> Scene:
        """These frames; parameters as in ``Trainable.batch``."""
        return _scene(*seen_frames(self._samples, indices, augmentation))


def scene_of(prepared: Mapping[str, np.ndarray]) -> Scene:
    """Frames as ``LamPreparation`` keeps them, each array with the frames first."""
    return _scene(prepared[PICTURES], prepared[DEPTHS].astype(np.float32), prepared[INTRINSICS])


def _scene(pictures: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray) -> Scene:
    """:param pictures: (N, S, S, 3) uint8. :param depths: (N, S, S) float32. :param intrinsics: (N, 3, 3) float32."""
    arrays = as_pixels(pictures), depths, intrinsics
    return Scene(*(torch.from_numpy(np.ascontiguousarray(each)) for each in arrays))


class LamBatchMaker(ClipMaker):
    """``probed``: (P,) frames with all keyframes whose motions are known, evenly over all episodes that tell them, and
    ``probed_motions``: (P, T, 5) these. None if too few episodes do.

    :param samples: prepared frames.
    :param keyframes_s: times of the keyframes, seconds after the current frame.
    :param label_share: share of the episodes whose motion is told.
    :param seed: seed that chooses these.
    :raises InputError: when no frame has a keyframe, or no labelled episode tells its motion.
    """

    def __init__(self, samples: Samples, keyframes_s: tuple[float, ...], label_share: float, seed: int) -> None:
        super().__init__(samples, keyframes_s)
        self.remarks = check_clip_stamps(samples, keyframes_s, self.valid)
        found = motions(samples.states, self.keyframes, self.valid)
        self.probed = _probed(samples, found)
        self.probed_motions = found[self.probed]
        self.motion = np.full((*self.valid.shape, len(MOTIONS)), np.nan, np.float32)
        if label_share:
            self._label(found, label_share, seed)

    def _label(self, found: np.ndarray, share: float, seed: int) -> None:
        episodes = len(self._samples.instructions)
        chosen = np.random.default_rng([_LABELS, seed]).permutation(episodes)[: int(np.ceil(share * episodes))]
        rows = np.isin(self._samples.episode, chosen)
        found = np.where(rows[:, None, None], found, np.nan)
        if not np.isfinite(found).any():
            raise InputError(
                "family.options.label_share: expected data that tell the arm's pose (observation.state), none of the "
                f"{len(chosen)} labelled episodes does; set it to 0"
            )
        deviation = np.nanstd(found, axis=0)
        self.motion = (found / np.where(deviation > 1e-6, deviation, 1.0)).astype(np.float32)

    def probed_episodes(self) -> np.ndarray:
        """(P,) episode of each frame in ``probed``."""
        return self._samples.episode[self.probed]

    def make(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> LamBatch:
        """As ``Trainable.batch``."""
        return LamBatch(self.clip(indices, augmentation), torch.from_numpy(self.motion[indices].copy()))


def check_clip_stamps(samples: Samples, seconds: tuple[float, ...], valid: np.ndarray) -> tuple[str, ...]:
    """Whether clips are long enough, and have frames enough, for their keyframes.

    :param valid: (N, T) as of :func:`find_keyframes`.
    :returns: what is suspicious.
    :raises InputError: naming a clip with too few frames a second; or when no clip is as long as the last keyframe
        asks for.
    """
    firsts = np.searchsorted(samples.episode, np.arange(len(samples.instructions)))
    lasts = samples.last[firsts]
    lengths_s = (samples.stamps[lasts] - samples.stamps[firsts]) / 1e9
    periods_s = np.array(
        [np.median(np.diff(samples.stamps[a : b + 1])) / 1e9 if b > a else np.nan for a, b in zip(firsts, lasts)]
    )
    names = samples.names or tuple(f"clip {number}" for number in range(len(firsts)))
    for number in np.flatnonzero(periods_s >= 2.0 * seconds[0]):
        raise InputError(
            f"{names[number]}: expected a frame every {2.0 * seconds[0]:g} s or more often for a keyframe at "
            f"{seconds[0]:g} s, it has one every {periods_s[number]:.3g} s; leave it out, or set "
            "family.options.keyframes_s"
        )
    short = lengths_s < seconds[-1] - periods_s.clip(max=seconds[0]) / 2.0 - 1e-9
    short |= np.isnan(periods_s)
    if short.all() or not valid[:, -1].any():
        longest = int(lengths_s.argmax())
        raise InputError(
            f"data.paths: expected a clip of {seconds[-1]:g} s, the last keyframe, or longer, the longest is "
            f"{names[longest]} of {lengths_s[longest]:.3g} s; set family.options.keyframes_s"
        )
    remarks = []
    if short.any():
        remarks.append(
            f"{int(short.sum())} of {len(short)} clips are shorter than {seconds[-1]:g} s, as "
            f"{names[int(np.flatnonzero(short)[0])]}: the keyframes after their ends do not count"
        )
    rates = 1.0 / periods_s[np.isfinite(periods_s)]
    if rates.max() > 1.02 * rates.min():
        remarks.append(f"clips have {rates.min():.3g} to {rates.max():.3g} frames a second: keyframes are by stamps")
    return tuple(remarks)


def _probed(samples: Samples, found: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(found).all(axis=(1, 2)))
    if len(np.unique(samples.episode[known])) < LEAST_EPISODES:
        return known[:0]
    return evenly(known, _PROBED)
