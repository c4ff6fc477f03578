"""Families of policies. Each is one kind of network, with its checkpoints, its training and the checks of its
checkpoints.

A family is a subclass of :class:`PolicyFamily` in a folder of its own. No other code names it: the server, the
evaluation, the training, the doctor and `stvla model` find it by the checkpoint (:func:`family_of`) or by name
(``FAMILIES``). Other packages add theirs by an entry point of the group ``stvla_ros.families``. A family's own module
imports no torch, so that looking up names and options is fast.
"""

import inspect
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from stvla_ros.errors import InputError
from stvla_ros.plugins import Registry, subclass_of
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.base import Policy
from stvla_ros.policy.checkpoint_places import find_base, find_base_name
from stvla_ros.policy.checkpoint_remarks import Remark
from stvla_ros.policy.checkpoints import ADAPTER_CONFIG, TRAINING_RECORD, read_json
from stvla_ros.policy.stored_weights import stored_shapes, weight_files

if TYPE_CHECKING:
    import torch

    from stvla_ros.policy.trainable import Start, Trainable

ACTIONS = "actions"
"""The objective of every family that can act: the demonstrated actions."""
GROUNDING = "grounding"
"""The objective of families that can answer in words: questions about pictures, which the training supplies
(``Trainable.question_batch``). The object that ``load`` returns then has ``ask(pictures, question, most_tokens)``,
which returns the answer, and ``picture_size``, the side in pixels of the picture that places in answers refer to."""

LATENT = "latent"
"""The objective of families with a latent action model, which tells what happened between pictures (`stvla latent`)."""


@dataclass(frozen=True)
class NoOptions:
    """Options of a family that has none for its training."""


@dataclass(frozen=True)
class Contents:
    """What is in a checkpoint.

    :param parts: number of weights by part of the network.
    :param statistics: keys of its action statistics.
    :param base: folder of the checkpoint that an adapter belongs to; None for a whole checkpoint.
    """

    parts: Mapping[str, int]
    statistics: tuple[str, ...] = ()
    base: Path | None = None


class PictureTokens(Protocol):
    """A frozen picture encoder with depth.

    :param picture_size: side of its pictures, S, pixels.
    :param patch: side of a patch, pixels; P = (S / patch)².
    :param width: numbers of a token.
    """

    picture_size: int
    patch: int
    width: int

    def __call__(self, rgb: "torch.Tensor", depth: "torch.Tensor", intrinsics: "torch.Tensor") -> "torch.Tensor":
        """
        :param rgb: (N, 3, S, S) float32, 0 to 1.
        :param depth: (N, S, S) float32 metres, 0 where unknown.
        :param intrinsics: (N, 3, 3) in its pixels.
        :returns: (N, P, width).
        """


class PolicyFamily(ABC):
    """One kind of policy network. An instance takes no arguments and has no state."""

    name: ClassVar[str]
    """Name of the family in ``family.name`` of a training's configuration, in ``--family`` and in ``training.json``."""
    model_types: ClassVar[tuple[str, ...]] = ()
    """``model_type`` of the config.json of its checkpoints."""
    sizes: ClassVar[tuple[str, ...]] = ()
    """Names of the sizes in which new checkpoints can be made."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files without which no checkpoint of the family can be loaded, beside its weights and statistics."""
    options: ClassVar[type] = NoOptions
    """Dataclass of ``family.options`` of a training's configuration."""
    objectives: ClassVar[Mapping[str, tuple[str, ...]]] = {ACTIONS: ()}
    """Objectives of a training, and the further features of the data set that each needs."""

    action_free: ClassVar[frozenset[str]] = frozenset()
    """Objectives that need no actions. A training for these alone takes any data with pictures and stamps: recordings,
    and data sets whose actions mean something else, or nothing."""

    takes_traces: ClassVar[bool] = False
    """Whether its networks can be trained with the traces as numbers (``traces: beside``, ``Picture.traces``)."""

    @property
    @abstractmethod
    def policy(self) -> type[Policy]:
        """The policy's class. It takes at least ``checkpoint``, and loads nothing before ``load()``."""

    def load(self, folder: Path, device: str, dtype: str, **options: Any) -> Any:
        """Load the network, with what prepares its inputs and decodes its outputs, for use without a graph.

        :param folder: folder of a checkpoint or an adapter of this family.
        :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        :param dtype: ``auto``, ``float32``, ``float16`` or ``bfloat16``.
        :param options: options of this family.
        :raises InputError: for a checkpoint, device, type or option that cannot be used.
        """
        taken = inspect.signature(self.policy).parameters
        usual = {name: value for name, value in {"device": device, "dtype": dtype}.items() if name in taken}
        make: Callable[..., Policy] = self.policy
        policy = make(checkpoint=str(folder), **{**usual, **options})
        policy.load()
        return policy

    def check(self, folder: Path, unnorm_key: str = "", fallback_unnorm_key: str = "") -> Iterator[Remark]:
        """Check whether a checkpoint can be used. Reads headers and small files, no weights.

        :param folder: folder of a checkpoint or an adapter of this family.
        :param unnorm_key: data set whose statistics are asked for; empty for the robot's own.
        :param fallback_unnorm_key: the robot's own data set.
        """
        try:
            parts = self.inspect(folder).parts
        except InputError as problem:
            yield Remark("error", str(problem), "copy the checkpoint again")
            return
        yield Remark("ok", f"checkpoint {folder}: {self.name}, {sum(parts.values()) / 1e6:.2f} million parameters")

    def inspect(self, folder: Path) -> Contents:
        """What is in a checkpoint. Reads headers and small files, no weights.

        :raises InputError: when it cannot be read.
        """
        parts: Counter[str] = Counter()
        for name, shape in stored_shapes(weight_files(folder)).items():
            parts[name.split(".")[0]] += math.prod(shape)
        return Contents(dict(sorted(parts.items())))

    def statistics(self, folder: Path) -> Mapping[str, ActionStatistics]:
        """Action statistics by data set. Reads small files; imports no torch.

        :param folder: folder of a checkpoint or an adapter of this family.
        :returns: statistics by data set; empty for a family that cannot tell them so cheaply.
        :raises InputError: when they cannot be read.
        """
        return {}

    def picture_encoder(self, folder: Path, device: "torch.device") -> "PictureTokens":
        """The part of a network that sees, frozen, for other families to build on.

        :param folder: folder of a whole checkpoint of this family.
        :raises InputError: for a family that has no such part, or a checkpoint that cannot be read.
        """
        raise InputError(f"checkpoint {folder}: family {self.name} has no picture encoder that others could build on")

    def latent_actions(self, folder: Path, device: str) -> Any:
        """The latent action model of a checkpoint, for families with the objective ``LATENT``.

        :param folder: folder of a checkpoint of this family.
        :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        :returns: an object with ``config``, ``preparation``, ``encode``, ``decode``, ``seen``, ``explained`` and
            ``untrained``, see ``ssm_vla/lam_predictor.py``.
        :raises InputError: for a family without one, or a checkpoint that cannot be used.
        """
        raise InputError(f"checkpoint {folder}: expected a latent action model, family {self.name} has none")

    @abstractmethod
    def create(self, folder: Path, size: str, seed: int) -> None:
        """Write a new checkpoint with random weights.

        :param folder: a new or empty folder.
        :param size: one of ``sizes``.
        :param seed: seed of the weights: the same seed gives the same files.
        :raises InputError: for an argument that cannot be used; then nothing was made.
        """

    def convert(self, source: Path, base: Path | None, output: Path, dtype: str, parameters: Mapping[str, Any]) -> None:
        """Write a checkpoint from files that others publish in a layout that is not read directly, such as pickles.

        :param source: a file or folder.
        :param base: folder of the model that ``source`` builds on and does not contain; None if there is none.
        :param output: a new or empty folder.
        :param dtype: type of the weights written.
        :param parameters: parameters of this family's conversion.
        :raises InputError: for what cannot be converted; then nothing was made.
        """
        raise InputError(f"checkpoint {source}: checkpoints of family {self.name} need no conversion")

    def merge(self, adapter: Path, output: Path, dtype: str) -> None:
        """Write an adapter and the checkpoint that it was trained on as one checkpoint.

        :param adapter: folder of the adapter.
        :param output: a new or empty folder.
        :param dtype: type of the weights written.
        :raises InputError: when they cannot be merged; then nothing was made.
        """
        raise InputError(f"adapter {adapter}: family {self.name} has no adapters that could be merged")

    def trainable(self, start: "Start") -> "Trainable":
        """The network, ready to be trained.

        :raises InputError: when something in ``start`` cannot be used.
        """
        raise InputError(f"family {self.name}: it cannot be trained here")


FAMILIES: Registry[type[PolicyFamily]] = Registry(
    "family",
    "families",
    {
        "spatialvla": "stvla_ros.policy.spatialvla.family:SpatialVlaFamily",
        "st4vla": "stvla_ros.policy.st4vla.family:St4VlaFamily",
        "ssm_vla": "stvla_ros.policy.ssm_vla.family:SsmVlaFamily",
    },
    "a class made from stvla_ros.policy.families.PolicyFamily",
    subclass_of(PolicyFamily),
)


def find_family(name: str) -> PolicyFamily:
    """:raises InputError: for an unknown name, or a family that cannot be imported."""
    return FAMILIES.find(name)()


def family_of(folder: Path) -> PolicyFamily:
    """The family of a checkpoint: named by its training.json, else by config.json's model_type, else its base's.

    :param folder: folder of a checkpoint or an adapter.
    :raises InputError: when none of these names a family, or the name is unknown.
    """
    record = folder / TRAINING_RECORD
    if record.is_file() and (name := read_json(record).get("family")) is not None:
        if not isinstance(name, str) or name not in FAMILIES.names():
            raise InputError(
                f"{record}: family: expected one of {', '.join(FAMILIES.names())}, got {name!r} (of a plug-in that is "
                "not installed?)"
            )
        return find_family(name)
    if base := find_base_name(folder):
        try:
            return family_of(find_base(base))
        except InputError as error:
            raise InputError(f"{folder / ADAPTER_CONFIG}, base_model_name_or_path: {error}") from error
    file = folder / "config.json"
    if not file.is_file() and (pickles := [*folder.glob("*.pt"), *folder.glob("checkpoints/*.pt")]):
        raise InputError(
            f"checkpoint {folder}: expected config.json and safetensors, there are pickles: stvla model convert "
            f"--checkpoint {min(pickles)} --base FOLDER --output FOLDER"
        )
    model_type = read_json(file).get("model_type")
    known: list[str] = []
    broken: list[str] = []
    for name in FAMILIES.names():
        try:
            family = find_family(name)
        except InputError as error:  # one package's fault must not hide another's checkpoint
            broken.append(f"; {error}")
            continue
        if model_type in family.model_types:
            return family
        known += family.model_types
    expected = " or ".join(map(repr, known))
    raise InputError(f"{file}: expected model_type {expected}, got {model_type!r}{''.join(broken)}")
