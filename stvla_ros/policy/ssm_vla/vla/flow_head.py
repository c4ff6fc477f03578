"""From the states of the action queries to a chunk: flow matching (arXiv 2210.02747) by a small transformer.

Between noise ε and a chunk a lies x_t = (1 - t) ε + t a. The head tells the velocity v = a - ε at x_t; following it in
steps from t = 0 to 1 leads from noise to a chunk. Blocks look by turns at the condition and at the chunk itself; the
time scales and shifts what they see and gates what they add (AdaLN-zero, arXiv 2212.09748).
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from stvla_ros.policy.attention import attend
from stvla_ros.policy.ssm_vla.config import PolicyConfig

ACTION = 7
LATEST = 0.999
"""Time up to which training draws times: nothing is left to tell at 1."""
_NOISY = 1.5
_WAVES = 128
_FASTEST = 1000.0


class FlowBlock(nn.Module):
    """Attention to the condition or among the actions; MLP.

    :param width: width of the tokens.
    :param heads: heads of the attention.
    :param crosses: whether it looks at the condition.
    """

    def __init__(self, width: int, heads: int, crosses: bool) -> None:
        super().__init__()
        self._heads, self.crosses = heads, crosses
        self.queries = nn.Linear(width, width, bias=False)
        self.keys_values = nn.Linear(width, 2 * width, bias=False)
        self.looked = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)

    def seen(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, (N, heads, L, ·) each, of tokens (N, L, F)."""
        keys, values = self.keys_values(tokens).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(
        self,
        tokens: torch.Tensor,
        modulated: tuple[torch.Tensor, ...],
        condition: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        """
        :param tokens: (N, K, F).
        :param modulated: scale, shift and gate of attention and MLP, (N, 1, F) each or what broadcasts to it.
        :param condition: keys and values of the condition; None for a block that looks at the actions.
        """
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = modulated
        normed = F.layer_norm(tokens, tokens.shape[-1:]) * (1.0 + scale) + shift
        keys, values = self.seen(normed) if condition is None else condition
        looked = attend(self._split(self.queries(normed)), keys, values).transpose(1, 2).flatten(2)
        tokens = tokens + gate * self.looked(looked)
        normed = F.layer_norm(tokens, tokens.shape[-1:]) * (1.0 + mlp_scale) + mlp_shift
        return tokens + mlp_gate * self.out(F.gelu(self.wide(normed)))

    def _split(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.unflatten(-1, (self._heads, -1)).transpose(1, 2)


class FlowHead(nn.Module):
    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        width = config.flow_width
        self.condition = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, width))
        self.actions = nn.Linear(ACTION, width)
        self.places = nn.Parameter(0.02 * torch.randn(config.chunk, width))
        self.times = nn.Sequential(nn.Linear(2 * _WAVES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(
            FlowBlock(width, config.flow_heads, crosses=number % 2 == 0) for number in range(config.flow_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.velocity = nn.Linear(width, ACTION)

    def start_still(self) -> None:
        """Blocks add nothing, and no velocity is told, to begin with."""
        for part in (*(block.modulation for block in self.blocks), self.velocity):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def modulations(self, times: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Of each block what the time does to it. :param times: (N,) in [0, 1]."""
        said = self.times(time_waves(times).to(self.places.dtype))[:, None]
        return [block.modulation(said).chunk(6, dim=-1) for block in self.blocks]

    def conditions(self, states: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """Of each block what it sees of the condition. :param states: (N, A, W) states of the action queries."""
        told = self.condition(states)
        return [block.seen(told) if block.crosses else None for block in self.blocks]

    def move(
        self,
        noisy: torch.Tensor,
        modulations: list[tuple[torch.Tensor, ...]],
        conditions: list[tuple[torch.Tensor, torch.Tensor] | None],
    ) -> torch.Tensor:
        """The velocity (N, K, 7) at ``noisy`` (N, K, 7); the other parameters are from the methods above."""
        tokens = self.actions(noisy) + self.places
        for block, modulated, condition in zip(self.blocks, modulations, conditions, strict=True):
            tokens = block(tokens, modulated, condition)
        return self.velocity(self.norm(tokens))

    def forward(self, noisy: torch.Tensor, times: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The velocity (N, K, 7).

        :param noisy: (N, K, 7) between noise and chunk.
        :param times: (N,) in [0, 1].
        :param states: (N, A, W) states of the action queries.
        """
        return self.move(noisy, self.modulations(times), self.conditions(states))


class FlowSampler:
    """Euler's method with equal steps. What does not depend on the chunk is computed once.

    :param head: flow head, on its device. Its weights may not change afterwards.
    :param steps: number of steps, at least 1.
    """

    def __init__(self, head: FlowHead, steps: int) -> None:
        self._head, self._steps = head, steps
        times = torch.arange(steps, device=head.places.device) / steps
        self._modulations = [head.modulations(time[None]) for time in times]

    def __call__(self, states: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """
        :param states: (N, A, W) states of the action queries.
        :param noise: (N, K, 7) noise of a standard normal distribution.
        :returns: (N, K, 7) chunks, scaled as in training.
        """
        conditions, chunk = self._head.conditions(states), noise
        for modulations in self._modulations:
            chunk = chunk + self._head.move(chunk, modulations, conditions) / self._steps
        return chunk


def time_waves(times: torch.Tensor) -> torch.Tensor:
    """(N, 2 · 128) sines and cosines of times in [0, 1]."""
    rates = torch.exp(torch.arange(_WAVES, device=times.device) * (-math.log(10_000.0) / _WAVES))
    angles = _FASTEST * times.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def draw_times(count: int, device: torch.device) -> torch.Tensor:
    """(count,) times of a training step, 0.999 (1 - u) of u from Beta(1.5, 1): more of the noisy end, as GR00T N1
    (arXiv 2503.14734) and π0 (arXiv 2410.24164) draw them.
    """
    # The inverse of the distribution's function, u = r^(1 / 1.5) of a uniform r.
    return LATEST * (1.0 - torch.rand(count, device=device).pow(1.0 / _NOISY))
