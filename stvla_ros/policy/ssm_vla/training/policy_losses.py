"""How wrong the policy is: the velocity of the flow, and the latent actions. For the picture: ``losses.py``."""

import torch
from torch.nn import functional as F

from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip
from stvla_ros.policy.ssm_vla.lam.quantiser import Quantised
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.vla.flow_head import FlowHead, draw_times


def flow_loss(
    head: FlowHead, states: torch.Tensor, actions: torch.Tensor, valid: torch.Tensor, repeats: int
) -> torch.Tensor:
    """The mean squared error of the velocity at random places between noise and chunk.

    :param states: (B, A, W) states of the action queries.
    :param actions: (B, K, 7) chunks, scaled.
    :param valid: (B, K) bool, which actions there are. A sample without any adds nothing, and changes no weight.
    :param repeats: number of places of each chunk.
    """
    chunks, counts = actions.repeat(repeats, 1, 1), valid.repeat(repeats, 1).float()
    noise, times = torch.randn_like(chunks), draw_times(len(chunks), chunks.device)
    noisy = torch.lerp(noise, chunks, times[:, None, None])
    told = head(noisy, times, states.repeat(repeats, 1, 1))
    wrong = (told.float() - (chunks - noise)).square().mean(dim=-1)
    return (wrong * counts).sum() / counts.sum().clamp(min=1.0)


def codes_loss(told: torch.Tensor, codes: Quantised, valid: torch.Tensor, quantised: bool) -> dict[str, torch.Tensor]:
    """How wrong the latent actions to come are: cross-entropy of the codebook's vectors; without a codebook the squared
    distance of the codes.

    :param told: (B, T, Q, ·) of ``SsmVla.told``.
    :param codes: the latent action model's own.
    :param valid: (B, T) bool, which keyframes there are.
    :param quantised: whether there is a codebook.
    :returns: the loss as ``codes``, and of codebooks the share that is right.
    """
    counts = valid[..., None].expand(codes.ids.shape).float()
    total = counts.sum().clamp(min=1.0)
    if not quantised:
        return {"codes": ((told.float() - codes.codes).square().sum(dim=-1) * counts).sum() / total}
    wrong = F.cross_entropy(told.float().flatten(0, 2), codes.ids.flatten(), reduction="none").view(codes.ids.shape)
    right = (told.argmax(dim=-1) == codes.ids).float()
    return {"codes": (wrong * counts).sum() / total, "codes_right": (right * counts).sum() / total}


def now_and_then(clip: Clip, number: int) -> Clip:
    """The clips with one of their keyframes (1 … T) alone."""
    now, then = clip.frame(0), clip.frame(number)
    pairs = (
        torch.stack(each, dim=1).flatten(0, 1)
        for each in ((now.rgb, then.rgb), (now.depth, then.depth), (now.intrinsics, then.intrinsics))
    )
    return Clip(Scene(*pairs), clip.valid[:, number - 1 : number])
