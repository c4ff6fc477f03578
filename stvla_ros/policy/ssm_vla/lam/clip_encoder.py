"""From a clip to a latent action for each keyframe: causal in time, queries ask what changed."""

import torch
from torch import nn

from stvla_ros.policy.ssm_vla.config import LamConfig
from stvla_ros.policy.ssm_vla.lam.blocks import Entrance, SpaceTimeBlock


class ClipEncoder(nn.Module):
    """F = T + 1 frames: the current one, then the keyframes. Each has Q queries of its own: they tell the time."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        self._queries = config.queries
        frames = len(config.keyframes_s) + 1
        self.queries = nn.Parameter(torch.empty(frames, config.queries, config.encoder_width).uniform_(-1.0, 1.0))
        self.entrance = Entrance(config.encoder_width, config.width, config.queries + config.patches)
        self.blocks = nn.ModuleList(SpaceTimeBlock(config.width, config.heads) for _ in range(config.encoder_layers))
        self.out = nn.Linear(config.width, config.code_width)

    def forward(self, tokens: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """
        :param tokens: (B, F, P, encoder_width).
        :param valid: (B, T) bool, which keyframes there are; nothing looks at the others.
        :returns: (B, T, Q, code_width): of keyframe k it depends on the frames 0 … k alone.
        """
        queries = self.queries.to(tokens).expand(len(tokens), -1, -1, -1)
        hidden = self.entrance(torch.cat([queries, tokens], dim=2))
        times = visible_frames(valid)
        for block in self.blocks:
            hidden = block(hidden, times)
        return self.out(hidden[:, 1:, : self._queries])


def visible_frames(valid: torch.Tensor) -> torch.Tensor:
    """Which frames each frame may look at: itself and, of those before, the ones that there are.

    :param valid: (B, T) bool.
    :returns: (B, T + 1, T + 1) bool.
    """
    there = torch.cat([torch.ones_like(valid[:, :1]), valid], dim=1)
    frames = there.shape[1]
    causal = torch.ones(frames, frames, dtype=torch.bool, device=valid.device).tril()
    own = torch.eye(frames, dtype=torch.bool, device=valid.device)
    return causal & there[:, None, :] | own
