"""The random draws of a predictor."""

import torch

from stvla_ros.policy.sampling import check_seed


class SeededDraws:
    """Draws from a generator of its own, the same ones after each reset, on every device.

    :param seed: seed of the draws.
    :raises InputError: for a seed out of range.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator()
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Draw from here on as if made with this seed.

        :raises InputError: for a seed out of range.
        """
        check_seed(seed)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Draw from here on as at the beginning."""
        self._generator.manual_seed(self._seed)
