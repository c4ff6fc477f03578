"""The policy after SSM-VLA (arXiv 2509.26251): one transformer over words, what is seen and what is asked.

Vision queries ask for the picture to come (the visual chain of thought), latent queries for the latent actions that the
latent action model would tell, action queries for what to do. Each sees those before it (``masks.py``). Latent queries
are passed on as their states, so that training and acting see the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from stvla_ros.policy.ssm_vla.config import LamConfig, PolicyConfig
from stvla_ros.policy.ssm_vla.lam.blocks import SpaceBlock, initialise, waves
from stvla_ros.policy.ssm_vla.lam.frame_decoder import FrameDecoder, Rebuilt
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.lam.tokens import FrameTokens
from stvla_ros.policy.ssm_vla.vla.flow_head import FlowHead
from stvla_ros.policy.ssm_vla.vla.masks import padded_mask, ranks, structured_mask

_SMALL = 0.02


@dataclass(frozen=True)
class Observations:
    """What B observations give.

    :param now, before: B pictures each: the current ones, and the earlier ones.
    :param words: (B, N) int64 ids.
    :param spoken: (B, N) bool, which of them there are, the first of each; None for all.
    """

    now: Scene
    before: Scene
    words: torch.Tensor
    spoken: torch.Tensor | None = None


@dataclass(frozen=True)
class States:
    """The queries' states, normalised.

    :param vision: (B, P, W).
    :param latent: (B, T, Q, W).
    :param actions: (B, A, W).
    """

    vision: torch.Tensor
    latent: torch.Tensor
    actions: torch.Tensor


class SsmVla(nn.Module):
    """
    :param lam: shape of the latent action model that teaches it.
    :param config: its own shape.
    """

    def __init__(self, lam: LamConfig, config: PolicyConfig) -> None:
        super().__init__()
        self.lam, self.config = lam, config
        width, self.patches = config.width, lam.patches
        self.keyframes, self.queries = len(lam.keyframes_s), lam.queries
        self.word_table = nn.Embedding(config.vocabulary, width)
        self.seen = FrameTokens(lam.picture_size, lam.patch, width, has_stem=True, sees_depth=lam.rebuilds_depth)
        self.kinds = nn.Parameter(_SMALL * torch.randn(3, 1, width))
        """Words, now, before."""
        self.vision_queries = nn.Parameter(_SMALL * torch.randn(1, width))
        self.latent_queries = nn.Parameter(_SMALL * torch.randn(self.keyframes * self.queries, width))
        self.action_queries = nn.Parameter(_SMALL * torch.randn(config.action_queries, width))
        self.blocks = nn.ModuleList(SpaceBlock(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.picture = FrameDecoder(
            lam.picture_size,
            lam.patch,
            width,
            config.heads,
            config.vision_layers,
            codes=self.patches,
            code_width=width,
            keyframes=1,
            rebuilds_depth=lam.rebuilds_depth,
        )
        self.codes = nn.Linear(width, lam.codes if lam.quantiser == "vq" else lam.code_width)
        self.flow = FlowHead(config)
        self.register_buffer("word_places", waves(config.most_words, width), persistent=False)
        self.register_buffer("patch_places", waves(self.patches, width), persistent=False)
        initialise(self)
        nn.init.normal_(self.word_table.weight)
        self.picture.start_still()
        self.flow.start_still()

    @property
    def device(self) -> torch.device:
        return self.kinds.device

    def core(self, observed: Observations) -> torch.Tensor:
        """(B, N + 2 P, W): words, patches of now, patches of before."""
        words, now, before = self.kinds
        seen = [self.seen(scene) + self.patch_places for scene in (observed.now, observed.before)]
        spoken = self.word_table(observed.words) + self.word_places[: observed.words.shape[1]]
        return torch.cat([spoken + words, seen[0] + now, seen[1] + before], dim=1)

    def asked(self) -> torch.Tensor:
        """(P + T Q + A, W) the queries."""
        vision = self.vision_queries + self.patch_places
        return torch.cat([vision, self.latent_queries, self.action_queries])

    def mask(self, core: int) -> torch.Tensor:
        """(L, L) bool, see ``masks.py``. :param core: number of core tokens."""
        rank = ranks(core, self.patches, self.keyframes, self.queries, self.config.action_queries)
        return structured_mask(rank).to(self.device)

    def states(self, observed: Observations, vision: Sequence[torch.Tensor] = ()) -> States:
        """The queries' states.

        :param vision: (B, P, W) for each block, as of :meth:`vision_tokens`: what stands in the place of the vision
            queries' tokens; none: their own.
        """
        return self._passed(observed, vision, None)

    def vision_tokens(self, observed: Observations) -> list[torch.Tensor]:
        """(B, P, W) for each block: the vision queries' tokens before it, which the queries after them look at."""
        noted: list[torch.Tensor] = []
        self._passed(observed, (), noted)
        return noted

    def _passed(
        self, observed: Observations, vision: Sequence[torch.Tensor], noted: list[torch.Tensor] | None
    ) -> States:
        core = self.core(observed)
        tokens = torch.cat([core, self.asked().expand(len(core), -1, -1)], dim=1)
        seen = self.mask(core.shape[1])
        if observed.spoken is not None:
            seen = padded_mask(seen, observed.spoken)
        elif not torch.is_grad_enabled():
            seen = torch.zeros(seen.shape, dtype=tokens.dtype, device=seen.device).masked_fill(~seen, float("-inf"))
        first = core.shape[1]
        asked = slice(first, first + self.patches)
        for number, block in enumerate(self.blocks):
            if vision:
                tokens = torch.cat([tokens[:, :first], vision[number], tokens[:, asked.stop :]], dim=1)
            if noted is not None:
                noted.append(tokens[:, asked])
            # Nothing looks at the core's last states.
            tokens = block(tokens, seen, first=first if number == len(self.blocks) - 1 else 0)
        parts = (self.patches, self.keyframes * self.queries, self.config.action_queries)
        vision, latent, actions = self.norm(tokens).split(parts, dim=1)
        return States(vision, latent.unflatten(1, (self.keyframes, self.queries)), actions)

    def expected(self, now: Scene, states: States) -> Rebuilt:
        """The picture to come, T = 1. :param now: the current pictures, of the side S."""
        return self.picture(now, states.vision[:, None])

    def told(self, states: States) -> torch.Tensor:
        """The latent actions to come, (B, T, Q, codes): scores of the codebook's vectors; of a latent action model
        without a codebook the codes themselves, (B, T, Q, C).
        """
        return self.codes(states.latent)
