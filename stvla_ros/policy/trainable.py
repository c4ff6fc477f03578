"""What the training asks of a family of policies. The trainer knows nothing else of a network."""

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
    """What a training begins with.

    :param base: folder of a whole checkpoint of the family.
    :param base_name: what an adapter calls it: the folder, or its id on the hub.
    :param is_new: whether its weights are random.
    :param options: the family's ``options``.
    :param objectives: all that are trained for, in any stage.
    :param inputs: what the policy is shown.
    :param lora: low-rank adapters in place of all weights; None for all.
    :param actions: (N, 7) of the training set, metres, radians, opening.
    :param episodes: of the training set.
    :param unnorm_key: what the checkpoint shall call the training set's statistics.
    :param seed: of what is drawn at random before the first step.
    :param device: where it is trained.
    :param precision: of the forward pass, and of weights that stand still below adapters; trained weights are float32.
    :param gradient_checkpointing: compute layers again for their gradients, and do not keep what they computed.
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
    """A family's own; only it looks inside."""

    def to(self, device: "torch.device") -> "Batch": ...


@dataclass(frozen=True)
class Losses:
    """
    :param objectives: scalar to be minimised for each objective that was asked for. The trainer weighs and adds them.
    :param parts: further figures for the log, by name.
    """

    objectives: Mapping[str, "torch.Tensor"]
    parts: Mapping[str, "torch.Tensor"] = field(default_factory=dict)


class Trainable(ABC):
    """A network of a family, ready to be trained."""

    module: "torch.nn.Module"
    """All that is trained, ``requires_grad`` set on it: the network, and heads that only training needs."""
    network: "torch.nn.Module"
    """What is saved, a part of ``module``."""
    preparation: Preparation
    """What is kept of each frame."""
    tables: tuple[str, ...] = ()
    """Parts of the names of those matrices that map nothing, such as embeddings: Muon leaves them to AdamW."""
    question_size: int = 0
    """Side of the pictures of ``question_batch``, pixels."""
    summary: str = ""
    """For the page before training: what else is special about this one."""

    @abstractmethod
    def use(self, samples: Samples) -> None:
        """Take the prepared frames from which batches are made. Called once."""

    @abstractmethod
    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> Batch:
        """Make a batch. Called from a thread of its own, beside the training.

        :param indices: (B,) of frames.
        :param augmentation: to be put on pictures, depth, intrinsics and all that lies in them; None for none.
        """

    def question_batch(self, questions: Sequence[SeenQuestion]) -> Batch:
        """Make a batch of questions, for the objective ``GROUNDING`` alone. Called as ``batch`` is, of families that
        have this objective.
        """
        raise NotImplementedError

    @abstractmethod
    def losses(self, batch: Batch, objectives: Collection[str], errors: bool = False) -> Losses:
        """
        :param batch: on the device.
        :param objectives: those that count now; others need not be computed.
        :param errors: whether to tell also how wrong the answers are, in units that people think in.
        """

    @abstractmethod
    def activation_bytes(self, batch_size: int) -> int:
        """About the most that forward and backward pass need at once, weights and gradients not counted."""

    @abstractmethod
    def result_bytes(self) -> int:
        """About what ``save`` writes."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the checkpoint, or the adapter, with the weights as they are now and all that belongs to them. Called
        once, at the end.

        :param folder: an empty folder.
        """
