"""Codes: each query's numbers become the nearest vector of a codebook, or stay what they are with noise.

A query says nearly the same of every clip, at first to a thousandth: what is quantised is how a clip differs from the
mean of that query at that keyframe, else every place has one code that tells nothing.

The codebook follows the vectors that fall to it (an exponential moving average, arXiv 1711.00937, appendix A.1); a
vector that hardly any falls to begins anew at one of the batch. Ours: the published codebook is trained by gradient.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from stvla_ros.errors import NothingLearnt
from stvla_ros.policy.ssm_vla.config import LamConfig

DECAY = 0.98
MIDDLE_DECAY = 0.5
"""Of the means that are taken away. At first they move more in ten steps than clips differ: they have to keep up."""
LEAST_USE = 0.02
"""Share of an even use below which a code counts as dead."""
LEAST_LIVE = 4
"""Codes without which a training ends as an error: what is left tells nothing of an action. As many have to be told
apart at one keyframe at least."""
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


class Centred(nn.Module):
    """Takes the mean over clips from what each query says of each keyframe, and makes the rest of length 1.

    In training it is the mean of the batch's clips if there are several, else the moving one (``middle``), which moves
    by :meth:`follow` alone.
    """

    def __init__(self, config: LamConfig) -> None:
        super().__init__()
        # Buffers: no optimiser moves them.
        self.register_buffer("middle", torch.zeros(len(config.keyframes_s), config.queries, config.code_width))
        self.register_buffer("steps", torch.zeros(()))  # checkpoints hold floating-point numbers alone
        self._means: list[torch.Tensor] = []

    @property
    def learns(self) -> bool:
        """Whether a pass is one that is learnt from."""
        return self.training and torch.is_grad_enabled()

    def centred(self, raw: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """(B, T, Q, C) of length 1.

        :param raw: (B, T, Q, C).
        :param valid: (B, T) bool, which keyframes there are.
        """
        raw, middle = raw.float(), self.middle
        if self.learns:
            there = valid[:, :, None, None].float()
            counts = there.sum(dim=0)
            mean = torch.where(counts > 0, (raw * there).sum(dim=0) / counts.clamp(min=1.0), middle)
            self._means.append(mean.detach())
            # A single clip differs from its own mean by nothing.
            middle = torch.where(counts > 1, mean, middle)
        return F.normalize(raw - middle, dim=-1)

    def forget(self) -> None:
        """What was seen since the last step is not to count."""
        self._means.clear()

    @torch.no_grad()
    def follow(self) -> None:
        """Move to what was seen since the last step."""
        if self._means:
            seen = torch.stack(self._means).mean(dim=0)
            self.middle.lerp_(seen, 1.0 - MIDDLE_DECAY if self.steps else 1.0)
            self.steps += 1
        self._means.clear()


class Codebook(Centred):
    """``vq``. Changes only by :meth:`follow`, so that a pass by itself has no effect."""

    def __init__(self, config: LamConfig) -> None:
        super().__init__(config)
        self.count = config.codes
        # `torch.randn` follows the seed as the layers do.
        self.register_buffer("vectors", F.normalize(torch.randn(config.codes, config.code_width), dim=-1))
        self.register_buffer("sums", self.vectors.clone() / config.codes)
        # Of each query at each keyframe: codes that differ from query to query alone tell nothing.
        self.register_buffer("use", torch.zeros(len(config.keyframes_s), config.queries, config.codes))
        self.register_buffer("recent", torch.zeros(config.codes))
        self._seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def forward(self, raw: torch.Tensor, valid: torch.Tensor) -> Quantised:
        """
        :param raw: (B, T, Q, C).
        :param valid: (B, T) bool, which keyframes there are.
        """
        unit = self.centred(raw, valid)
        with torch.no_grad():
            ids = (unit @ self.vectors.T).argmax(dim=-1)
        chosen = self.vectors[ids]
        if self.learns:
            self._seen.append((unit.detach(), ids, valid))
        return Quantised(unit + (chosen - unit).detach(), ids, (unit - chosen).square().mean(dim=(2, 3)))

    def forget(self) -> None:
        super().forget()
        self._seen.clear()

    @torch.no_grad()
    def follow(self) -> None:
        """Move to what was seen since the last step.

        :raises NothingLearnt: when too few codes live, or when they do not change from clip to clip.
        """
        seen, self._seen = self._seen, []
        if not any(bool(valid.any()) for _, _, valid in seen):
            super().forget()
            return
        super().follow()
        unit, ids, valid = (torch.cat(parts) for parts in zip(*seen, strict=True))
        chosen = F.one_hot(ids, self.count).to(unit)
        counts = valid.sum(dim=0)
        share = (chosen * valid[..., None, None]).sum(dim=0) / counts.clamp(min=1)[:, None, None]
        there = counts > 0
        self.use[there] = self.use[there].lerp(share[there], 1.0 - DECAY)
        units, of_all = (each[valid].flatten(0, -2) for each in (unit, chosen))
        self.recent += of_all.mean(dim=0)
        self.sums.lerp_(of_all.T @ units / len(units), 1.0 - DECAY)
        self.vectors.copy_(F.normalize(self.sums, dim=-1))
        if self.steps == 1:  # until now the codebook knew nothing of what falls to it
            self._restart(units, torch.ones_like(self.recent, dtype=torch.bool))
        elif self.steps % RESTART_EVERY == 0:
            self._restart(units, self.recent < RESTART_EVERY * LEAST_USE / self.count)
        if self.steps >= PATIENCE:
            self._check()

    def _check(self) -> None:
        instead = "lower optimizer.learning_rate, or set family.options.quantiser to none"
        live, after = int(self.live.sum()), f"after {int(self.steps)} steps"
        if live < LEAST_LIVE:
            raise NothingLearnt(
                f"training: expected at least {LEAST_LIVE} of {self.count} codes in use, {live} are {after}: the "
                f"latent actions tell nothing; {instead}"
            )
        least = math.log2(LEAST_LIVE)
        if (bits := float(self.bits.max())) < least:
            raise NothingLearnt(
                f"training: expected codes that change from clip to clip, {least:g} bits a keyframe or more, they have "
                f"{bits:.2f} {after}, though {live} codes are in use: the latent actions tell nothing; {instead}"
            )

    def _restart(self, units: torch.Tensor, dead: torch.Tensor) -> None:
        """Begin dead codes anew at vectors of the batch. Their use is not made up: who watches it sees what is used."""
        places = torch.nonzero(dead).flatten()
        begun = units[torch.randint(len(units), (len(places),), device=units.device)]
        self.vectors[places] = begun
        self.sums[places] = begun * (LEAST_USE / self.count)
        self.recent.zero_()

    @property
    def shares(self) -> torch.Tensor:
        """(T, Q, codes) how often each query says each code of a keyframe; 0 before the first step."""
        return self.use / self.use.sum(dim=-1, keepdim=True).clamp(min=1e-12)

    @property
    def live(self) -> torch.Tensor:
        """(codes,) bool, which are in use."""
        return self.shares.mean(dim=(0, 1)) > LEAST_USE / self.count

    @property
    def bits(self) -> torch.Tensor:
        """(T,) the most that the codes of a keyframe can tell of a clip: entropies of its queries' use, summed."""
        return _entropy(self.shares).sum(dim=1) / math.log(2.0)

    def figures(self) -> dict[str, torch.Tensor]:
        """For the log: how many codes live, the perplexity of their use (as many if all are used alike), and the bits
        of a keyframe, their mean.
        """
        perplexity = torch.exp(_entropy(self.shares.mean(dim=(0, 1))))
        return {"codes_live": self.live.sum().float(), "perplexity": perplexity, "code_bits": self.bits.mean()}


class NoCodebook(Centred):
    """``none``: the numbers themselves, of length 1, with noise in training."""

    def forward(self, raw: torch.Tensor, valid: torch.Tensor) -> Quantised:
        """As ``Codebook.forward``."""
        codes = self.centred(raw, valid)
        if self.training:
            codes = codes + NOISE * torch.randn_like(codes)
        none = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
        return Quantised(codes, none, torch.zeros_like(valid, dtype=torch.float32))

    def figures(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}


def _entropy(shares: torch.Tensor) -> torch.Tensor:
    """Of the last dimension, nats."""
    return -(shares * shares.clamp(min=1e-12).log()).sum(dim=-1)
