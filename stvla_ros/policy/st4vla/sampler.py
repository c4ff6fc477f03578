"""DDIM with a fixed number of steps. What does not depend on the chunk is computed once for all chunks."""

import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.st4vla import diffusion
from stvla_ros.policy.st4vla.diffusion import denoise
from stvla_ros.policy.st4vla.dit import NoisePredictor


class Sampler:
    """
    :param net: noise predictor, on its device. Its weights may not change afterwards.
    :param steps: number of steps, one of ``denoising_steps.sampler_steps``.
    :param guidance: strength of the guidance away from what would be done without a condition; 1 or less for none, and
        half the work.
    :raises InputError: for a number of steps that is none, or a guidance that is no finite number.
    """

    def __init__(self, net: NoisePredictor, steps: int, guidance: float) -> None:
        times = diffusion.step_times(steps)
        if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not abs(guidance) < float("inf"):
            raise InputError(f"guidance: expected a finite number, got {guidance!r}")
        self._net, self._steps, self._guidance = net, steps, guidance
        self._places = {time: number for number, time in enumerate(times)}
        # The embedded time of each step, (S, 1, D), and its tokens without a condition, (S, 1, Q, D).
        self._times = net.t_embedder(torch.tensor(times, device=net.positional_embedding.device))[:, None]
        self._free = net.told(self._times, net.z_embedder(net.z_embedder.uncondition[None])) if guidance > 1.0 else None

    def __call__(self, condition: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """As ``St4Vla.sample``."""
        net, guidance = self._net, self._guidance
        told = net.told(self._times, net.z_embedder(condition))
        if self._free is not None:
            # Both halves run in one batch.
            told = torch.cat([told, self._free.expand_as(told)], dim=1)

        def predict(actions: torch.Tensor, time: int) -> torch.Tensor:
            now = told[self._places[time]]
            if self._free is None:
                return net.predict(actions, now)
            found, free = net.predict(torch.cat([actions, actions]), now).chunk(2)
            return free + guidance * (found - free)

        return denoise(noise, self._steps, predict)
