"""Codes: each query's numbers become the nearest vector of a codebook, or stay what they are with noise.

The codebook follows the vectors that fall to it (an exponential moving average, arXiv 1711.00937, appendix A.1); a
vector that hardly any falls to begins anew at one of the batch. Ours: the published codebook is trained by gradient.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from stvla_ros.errors import InputError
from stvla_ros.policy.ssm_vla.config import LamConfig

DECAY = 0.98
LEAST_USE = 0.02
"""Share of an even use below which a code counts as dead."""
LEAST_LIVE = 4
"""Codes without which a training ends as an error: what is left tells nothing of an action."""
RESTART_EVERY = 20
PATIENCE = 200
"""Steps between restarts, and after which codes have to live."""
NOISE = 0.1
"""Deviation of the noise on codes of length 1 that are not quantised."""


@dataclass(frozen=True)
class Quantised:
    """
    :param codes: (B, T, Q, C) of length 1; the gradient goes to what was quantised.
    :param ids: (B, T, Q) int64 of the codebook; 0 without one.
    :param commitment: (B, T) mean squared distance of what was quantised to its code; 0 without a codebook.
    """

    codes: torch.Tensor
    ids: torch.Tensor
    commitment: torch.Tensor


class Codebook(nn.Module):
    """``vq``. Changes only by :meth:`follow`, so that a pass by itself has no effect."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        self.count = config.codes
        # Buffers: no optimiser moves them. `torch.randn` follows the seed as the layers do.
        self.register_buffer("vectors", F.normalize(torch.randn(config.codes, config.code_width), dim=-1))
        self.register_buffer("sums", self.vectors.clone() / config.codes)
        self.register_buffer("use", torch.full((config.codes,), 1.0 / config.codes))
        self.register_buffer("recent", torch.zeros(config.codes))
        self.register_buffer("steps", torch.zeros(()))  # checkpoints hold floating-point numbers alone
        self._seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, raw: torch.Tensor, valid: torch.Tensor) -> Quantised:
        """
        :param raw: (B, T, Q, C).
        :param valid: (B, T) bool, which keyframes there are.
        """
        unit = F.normalize(raw.float(), dim=-1)
        with torch.no_grad():
            ids = (unit @ self.vectors.T).argmax(dim=-1)
        chosen = self.vectors[ids]
        if self.training and torch.is_grad_enabled():
            self._seen.append((unit.detach(), ids, valid))
        return Quantised(unit + (chosen - unit).detach(), ids, (unit - chosen).square().mean(dim=(2, 3)))

    def forget(self) -> None:
        """What was seen since the last step is not to count."""
        self._seen.clear()

    @torch.no_grad()
    def follow(self) -> None:
        """Move to what was seen since the last step.

        :raises InputError: when too few codes live.
        """
        seen = [(unit[valid].flatten(0, -2), ids[valid].flatten()) for unit, ids, valid in self._seen]
        self._seen.clear()
        if not sum(len(ids) for _, ids in seen):
            return
        units, ids = (torch.cat(parts) for parts in zip(*seen, strict=True))
        chosen = F.one_hot(ids, self.count).to(units)
        share = chosen.mean(dim=0)
        self.use.lerp_(share, 1.0 - DECAY)
        self.recent += share
        self.sums.lerp_(chosen.T @ units / len(units), 1.0 - DECAY)
        self.vectors.copy_(F.normalize(self.sums, dim=-1))
        self.steps += 1
        if self.steps == 1:  # until now the codebook knew nothing of what falls to it
            self._restart(units, torch.ones_like(self.use, dtype=torch.bool))
        elif self.steps % RESTART_EVERY == 0:
            self._restart(units, self.recent < RESTART_EVERY * LEAST_USE / self.count)
        if self.steps >= PATIENCE and (live := int(self.live.sum())) < LEAST_LIVE:
            raise InputError(
                f"training: expected at least {LEAST_LIVE} of {self.count} codes in use, {live} are after "
                f"{int(self.steps)} steps: the latent actions tell nothing; lower optimizer.learning_rate, or set "
                "family.options.quantiser to none"
            )

    def _restart(self, units: torch.Tensor, dead: torch.Tensor) -> None:
        """Begin dead codes anew at vectors of the batch. Their use is not made up: who watches it sees what is used."""
        places = torch.nonzero(dead).flatten()
        begun = units[torch.randint(len(units), (len(places),), device=units.device)]
        self.vectors[places] = begun
        self.sums[places] = begun * (LEAST_USE / self.count)
        self.recent.zero_()

    @property
    def live(self) -> torch.Tensor:
        """(codes,) bool, which are in use."""
        return self.use > LEAST_USE / self.count

    def figures(self) -> dict[str, torch.Tensor]:
        """For the log: how many codes live, and the perplexity of their use (as many if all are used alike)."""
        share = self.use / self.use.sum()
        perplexity = torch.exp(-(share * share.clamp(min=1e-12).log()).sum())
        return {"codes_live": self.live.sum().float(), "perplexity": perplexity}


class NoCodebook(nn.Module):
    """``none``: the numbers themselves, of length 1, with noise in training."""

    def forward(self, raw: torch.Tensor, valid: torch.Tensor) -> Quantised:
        """As ``Codebook.forward``."""
        codes = F.normalize(raw.float(), dim=-1)
        if self.training:
            codes = codes + NOISE * torch.randn_like(codes)
        none = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
        return Quantised(codes, none, torch.zeros_like(valid, dtype=torch.float32))

    def forget(self) -> None:
        """Nothing is kept."""

    def follow(self) -> None:
        """Nothing moves."""

    def figures(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}
