"""The common part of policies with a network: loading, the statistics of their actions, and the seed of their random
draws.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, say_statistics, select_statistics
from stvla_ros.policy.base import Policy


class Predictor(Protocol):
    """A loaded network with its preprocessing and postprocessing."""

    @property
    def statistics(self) -> Mapping[str, ActionStatistics]:
        """Action statistics by data set."""

    def warm_up(self) -> None:
        """Do now everything that would make the first calls slow."""

    def reset(self) -> None:
        """Draw from here on as at the beginning."""

    def reseed(self, seed: int) -> None:
        """Draw from here on as if made with this seed."""


Network = TypeVar("Network", bound=Predictor)


class NetworkPolicy(Policy, Generic[Network]):
    """
    :param checkpoint: folder, or id on the Hugging Face hub.
    :param unnorm_key: data set whose statistics turn normalised actions into metres; empty: the checkpoint's only one,
        the one added to the published ones, or else ``fallback_unnorm_key``.
    :param fallback_unnorm_key: data set of the robot.
    :param threads: number of cores that torch may use on a CPU; 0 for half of them, see ``devices.set_threads``.
    :param options: options of the network's predictor, ``seed`` among them.
    """

    def __init__(
        self, checkpoint: str, unnorm_key: str, fallback_unnorm_key: str, threads: int, options: dict[str, Any]
    ) -> None:
        self._checkpoint = checkpoint
        self._keys = (unnorm_key, fallback_unnorm_key)
        self._threads = threads
        self._options = options
        self._loaded: Network | None = None
        self._unnorm_key = ""

    @abstractmethod
    def _load(self, folder: Path, options: Mapping[str, Any]) -> Network:
        """The checkpoint's network.

        :param folder: folder of the checkpoint.
        :param options: options of the predictor.
        :raises InputError: when one of them cannot be used.
        """

    @property
    def _predictor(self) -> Network:
        """:raises InputError: before ``load``."""
        if self._loaded is None:
            raise InputError(f"policy {self.name}: expected load() before predict()")
        return self._loaded

    def load(self) -> None:
        """:raises InputError: when one of the parameters cannot be used."""
        # Imported here: a launcher that only checks the parameters need not wait for torch.
        from stvla_ros.devices import free_memory, set_threads
        from stvla_ros.policy.checkpoint_places import find_checkpoint

        set_threads(self._threads)
        self._loaded = None  # never two networks in memory
        free_memory()
        network = self._load(find_checkpoint(self._checkpoint), self._options)
        self._unnorm_key, _ = select_statistics(network.statistics, *self._keys)
        say_statistics(network.statistics, self._unnorm_key, *self._keys)
        network.warm_up()
        self._loaded = network

    def reset(self) -> None:
        if self._loaded is not None:
            self._loaded.reset()

    def reseed(self, seed: int) -> None:
        self._options["seed"] = seed
        if self._loaded is not None:
            self._loaded.reseed(seed)
