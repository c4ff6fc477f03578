"""The interface between the training and a family of policies. The trainer knows nothing else of a network."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.samples import Augmentation, Preparation, Samples, SeenQuestion

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Start:
    """The start of a training.

    :param base: folder of a whole checkpoint of the family.
    :param base_name: name of the base in an adapter's file: the folder, or its id on the hub.
    :param is_new: whether the base's weights are random.
    :param options: training options of the family.
    :param objectives: objectives of all stages.
    :param inputs: inputs of the policy.
    :param lora: configuration of the adapters that are trained in place of all weights; None for all weights.
    :param actions: (N, 7) actions of the training set, metres, radians, opening.
    :param episodes: number of episodes in the training set.
    :param unnorm_key: name that the checkpoint gives the training set's statistics.
    :param seed: seed of all random draws before the first step.
    :param device: device of the training.
    :param precision: type of the forward pass, and of frozen weights below adapters; trained weights are float32.
    :param gradient_checkpointing: whether layers are computed again for their gradients, instead of keeping what they
        computed.
    """

    base: Path
    base_name: str
    is_new: bool
    options: Any
    objectives: frozenset[str]
    inputs: InputsConfig
    lora: LoraConfig | None
    actions: np.ndarray
    episodes: int
    unnorm_key: str
    seed: int
    device: "torch.device"
    precision: "torch.dtype"
    gradient_checkpointing: bool = False


class Batch(Protocol):
    """The family's own type; only the family looks inside."""

    def to(self, device: "torch.device") -> "Batch": ...


@dataclass(frozen=True)
class Losses:
    """
    :param objectives: scalar to be minimised for each wanted objective. The trainer weighs and adds them.
    :param parts: further figures for the log, by name.
    """

    objectives: Mapping[str, "torch.Tensor"]
    parts: Mapping[str, "torch.Tensor"] = field(default_factory=dict)


class Trainable(ABC):
    """A network of a family, ready to be trained."""

    module: "torch.nn.Module"
    """Module with everything that is trained, ``requires_grad`` set on it: the network, and heads that only training
    needs."""
    network: "torch.nn.Module"
    """The part of ``module`` that is saved."""
    preparation: Preparation
    """Computes what is kept of each frame."""
    tables: tuple[str, ...] = ()
    """Parts of the names of matrices that are tables, such as embeddings, and no linear maps: Muon leaves them to
    AdamW."""
    question_size: int = 0
    """Side of the pictures of ``question_batch``, pixels."""
    summary: str = ""
    """Further peculiarities of this network, for the briefing before training."""
    remarks: Sequence[str] = ()
    """Lines about suspicious things in the samples."""

    @abstractmethod
    def use(self, samples: Samples) -> None:
        """Take the prepared frames from which batches are made. Called once.

        :raises InputError: for samples that nothing can be learnt from.
        """

    @abstractmethod
    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> Batch:
        """Make a batch. Called from a thread of its own, beside the training.

        :param indices: (B,) indices of frames.
        :param augmentation: change of pictures, depth, intrinsics and everything with a place in them; None for none.
        """

    def question_batch(self, questions: Sequence[SeenQuestion]) -> Batch:
        """Make a batch of questions, only for the objective ``GROUNDING``. Called as ``batch`` is, if the family has
        this objective.
        """
        raise NotImplementedError

    @abstractmethod
    def losses(self, batch: Batch, objectives: Collection[str], errors: bool = False) -> Losses:
        """
        :param batch: batch on the device.
        :param objectives: objectives that count now; others need not be computed.
        :param errors: whether the errors of the answers are computed as well, in units that people think in.
        """

    def begin_step(self) -> None:
        """Called before each optimiser step: passes until now were not of it."""

    def end_step(self) -> None:
        """Called after each optimiser step, for what follows what was seen without a gradient (buffers of ``module``,
        which are kept with its weights for a run that goes on).

        :raises InputError: when going on makes no sense.
        """

    def probe(self) -> Mapping[str, float]:
        """What else can be told of the network as it is, by name, for the log. Called at each validation, with the
        weights that would be saved.
        """
        return {}

    @abstractmethod
    def activation_bytes(self, batch_size: int) -> int:
        """Approximate peak of memory, in bytes, of a forward and a backward pass, without weights and gradients."""

    @abstractmethod
    def result_bytes(self) -> int:
        """Approximate number of bytes that ``save`` writes."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the checkpoint or the adapter with the present weights and everything that belongs to them. Called
        once, at the end.

        :param folder: an empty folder.
        """
