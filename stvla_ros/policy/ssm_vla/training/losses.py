"""How wrong rebuilt keyframes are. Every term has a gradient, and what is not there does not count."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from stvla_ros.policy.pictures import CHANGED_COLOUR, CHANGED_DEPTH
from stvla_ros.policy.ssm_vla.lam.frame_decoder import Rebuilt
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.seen_scene import inverse_depth


@dataclass(frozen=True)
class Target:
    """The keyframes, and what of them counts.

    :param rgb: (B, T, 3, S, S).
    :param inverse: (B, T, S, S) inverse depth, 1 / metres, 0 where unknown.
    :param there: (B, T, S, S) 1 in keyframes that there are, else 0.
    :param known: (B, T, S, S) 1 where the keyframe's depth is known, too.
    :param changed: (B, T, S, S) bool, which pixels differ from the current frame in colour or depth.
    """

    rgb: torch.Tensor
    inverse: torch.Tensor
    there: torch.Tensor
    known: torch.Tensor
    changed: torch.Tensor


def target_of(clip: Clip, uses_depth: bool) -> Target:
    """:param uses_depth: whether a change of depth is a change."""
    batch, keyframes = clip.valid.shape
    frames = (batch, keyframes + 1)
    rgb = clip.frames.rgb.unflatten(0, frames)
    depth = clip.frames.depth.unflatten(0, frames)
    inverse = inverse_depth(depth)
    there = clip.valid[:, :, None, None].expand_as(inverse[:, 1:]).float()
    changed = (rgb[:, 1:] - rgb[:, :1]).abs().amax(dim=2) > CHANGED_COLOUR
    if uses_depth:
        both = (depth[:, 1:] > 0) & (depth[:, :1] > 0)
        nearer = (inverse[:, 1:] - inverse[:, :1]).abs() > CHANGED_DEPTH * inverse[:, :1]
        changed = changed | (both & nearer)
    return Target(rgb[:, 1:], inverse[:, 1:], there, there * (depth[:, 1:] > 0), changed)


def colour_loss(rebuilt: Rebuilt, target: Target, change_weight: float) -> torch.Tensor:
    """Mean squared error, pixels weighed."""
    weights = target.there * _importance(target, change_weight)
    wrong = (rebuilt.rgb - target.rgb).square().mean(dim=2)
    return (weights * wrong).sum() / weights.sum().clamp(min=1.0)


def depth_loss(rebuilt: Rebuilt, target: Target, change_weight: float) -> torch.Tensor:
    """Logarithm of 1 + the absolute error of the inverse depth; less at the edges of the picture, where depth is
    uncertain (the paper's form, of metres; here of 1 / metres, which has a gradient everywhere and no scale of far
    walls). Pixels weighed; unknown depth does not count.
    """
    assert rebuilt.inverse is not None
    across = F.pad((target.rgb[..., :, 1:] - target.rgb[..., :, :-1]).abs().mean(dim=2), (0, 1))
    down = F.pad((target.rgb[..., 1:, :] - target.rgb[..., :-1, :]).abs().mean(dim=2), (0, 0, 0, 1))
    smooth = 0.5 * (torch.exp(-across) + torch.exp(-down))
    weights = target.known * _importance(target, change_weight)
    wrong = torch.log1p((rebuilt.inverse - target.inverse).abs())
    return (weights * smooth * wrong).sum() / weights.sum().clamp(min=1.0)


def explained(rebuilt: Rebuilt, clip: Clip, target: Target) -> dict[str, torch.Tensor]:
    """Of the squared change of the changing pixels, which share is told by the codes: 1 is all, 0 as good as a copy of
    the present.
    """
    now = clip.frame(0)
    moved = target.there * target.changed
    figures = {"rgb_explained": _explained(rebuilt.rgb, now.rgb[:, None], target.rgb, moved[:, :, None])}
    if rebuilt.inverse is not None:
        both = moved * target.known * (now.depth > 0)[:, None]
        near = inverse_depth(now.depth)[:, None]
        figures["depth_explained"] = _explained(rebuilt.inverse, near, target.inverse, both)
    return figures


def _explained(rebuilt: torch.Tensor, now: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    left = (weights * (rebuilt - target).square()).sum()
    whole = (weights * (now - target).square()).sum()
    return torch.where(whole > 0, 1.0 - left / whole.clamp(min=1e-12), torch.zeros_like(whole))


def commitment_loss(commitment: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """:param commitment: (B, T). :param valid: (B, T) bool."""
    return (commitment * valid).sum() / valid.sum().clamp(min=1)


def motion_loss(told: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the motions that are known.

    :param told: (B, T, M).
    :param motion: (B, T, M), of deviation 1 or so; NaN where unknown.
    """
    known = motion.isfinite()
    wrong = (told - torch.where(known, motion, told.detach())).square()
    return (wrong * known).sum() / known.sum().clamp(min=1)


def _importance(target: Target, change_weight: float) -> torch.Tensor:
    return 1.0 + (change_weight - 1.0) * target.changed.float()
