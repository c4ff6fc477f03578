"""An evaluated policy and the way it is run."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stvla_ros.control.chunk_execution import ENSEMBLED_CHUNKS, EXECUTIONS, PACINGS, check_chunks
from stvla_ros.errors import InputError
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.checkpoint_places import find_downloaded
from stvla_ros.policy.inputs import INPUT_NAMES, InputsConfig
from stvla_ros.policy.registry import (
    POLICIES,
    WITHOUT_NETWORK,
    check_loads,
    check_policy,
    require_network,
)
from stvla_ros.policy.training_record import AUTO, checkpoint_of, resolve_execution, training_notes
from stvla_ros.robots.embodiments import find_embodiment

MEASURED = "measured"
# Policies that look at nothing need no perception.
UNSEEN = InputsConfig(traces="none", depth=NO_DEPTH)
_LABEL = r"[A-Za-z0-9][A-Za-z0-9._@+-]*"
_HASHED_BYTES = 1 << 20


@dataclass(frozen=True)
class EvaluatedPolicy:
    """One policy, and everything else that decides its actions in an episode.

    :param label: name in tables and files: letters, digits and ``._@+-``.
    :param policy: registered name of the policy.
    :param checkpoint: folder or hub id; empty for policies without a network.
    :param parameters: parameters of the policy.
    :param inputs: inputs of the policy.
    :param execution: execution of the chunks, one of ``EXECUTIONS``, or ``auto``: as the checkpoint is meant.
    :param ensembled_chunks: number of the last chunks that are averaged, in executions that average.
    :param sticky_gripper: control steps for which a change of the gripper is held; None for the robot's own (0 for the
        expert, as in the live graph).
    :param pacing: pacing of time. ``lockstep``: the world waits; ``realtime``: it does not, in simulated time.
    :param inference_latency: duration of an inference in realtime: ``measured`` (each call's own wall time) or
        milliseconds.
    :param added_latency: milliseconds that are added to it in realtime.
    :raises InputError: naming the field that cannot be used.
    """

    label: str
    policy: str
    checkpoint: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: InputsConfig = InputsConfig()
    execution: str = AUTO
    ensembled_chunks: int = ENSEMBLED_CHUNKS
    sticky_gripper: int | None = None
    pacing: str = "lockstep"
    inference_latency: str | float = MEASURED
    added_latency: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not re.fullmatch(_LABEL, self.label):
            raise InputError(f"policy label: expected letters, digits and ._@+-, got {self.label!r}")
        if not POLICIES.knows(self.policy):
            self._refuse("policy", POLICIES.choices())
        choices = {
            "execution": (AUTO, *EXECUTIONS),
            "pacing": PACINGS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {', '.join(map(str, allowed))}")
        if not isinstance(self.parameters, Mapping):
            self._refuse("parameters", "a mapping")
        if own := sorted(set(self.parameters) & set(INPUT_NAMES)):
            raise InputError(f"policy {self.label}: parameters: {own[0]} has a field of its own")
        try:
            check_chunks(self.ensembled_chunks)
        except InputError as error:
            raise InputError(f"policy {self.label}: {error}") from None
        if self.sticky_gripper is not None and (type(self.sticky_gripper) is not int or self.sticky_gripper < 0):
            self._refuse("sticky_gripper", "control steps from 0")
        if self.inference_latency != MEASURED and not _is_milliseconds(self.inference_latency):
            self._refuse("inference_latency", f"{MEASURED} or milliseconds")
        if not _is_milliseconds(self.added_latency):
            self._refuse("added_latency", "milliseconds from 0")
        check_policy(self.policy, self.given_parameters())

    def _refuse(self, name: str, expected: str) -> None:
        raise InputError(f"policy {self.label}: {name}: expected {expected}, got {getattr(self, name)!r}")

    @property
    def sightless(self) -> bool:
        """Whether the policy needs no picture."""
        return self.policy in WITHOUT_NETWORK and self.inputs == UNSEEN

    def given_parameters(self) -> dict[str, Any]:
        """Parameters for ``make_policy``."""
        return ({"checkpoint": self.checkpoint} if self.checkpoint else {}) | dict(self.parameters)

    def sticky_steps(self, robot: str) -> int:
        """Control steps for which a change of the gripper is held on this robot."""
        if self.sticky_gripper is not None:
            return self.sticky_gripper
        return 0 if self.policy == "expert" else find_embodiment(robot).sticky_gripper_steps

    @property
    def resolved_execution(self) -> str:
        """The execution of the chunks, one of ``EXECUTIONS``. :raises InputError: when it cannot be determined."""
        return resolve_execution(self.execution, self.checkpoint)

    def notes(self) -> tuple[str, ...]:
        """Lines for the user, one for each difference from the checkpoint's training."""
        return training_notes(checkpoint_of(self.policy, self.checkpoint), self.inputs, self.execution)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the policy's results, JSON-able; a local checkpoint counts by its content."""
        values = asdict(self)
        if self.ensembled_chunks == ENSEMBLED_CHUNKS:
            del values["ensembled_chunks"]  # older journals do not have it
        folder = find_downloaded(self.checkpoint) if self.checkpoint else None
        if folder is not None:
            values["checkpoint"] = files_digest(folder)
        return values


def files_digest(folder: Path) -> str:
    """Digest of a checkpoint's files: names, sizes, and the first and last megabyte of each."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_HASHED_BYTES))
            stream.seek(max(0, size - _HASHED_BYTES))
            digest.update(stream.read())
    return f"sha256:{digest.hexdigest()[:16]}"


def check_loadable(policy: EvaluatedPolicy, robots: Collection[str] = ()) -> None:
    """Refuse now what would end the first episode: a checkpoint or a network that is not available, or actions of
    unknown size.

    :param robots: names of the robots that it will act for; empty while they are not known.
    :raises InputError: naming the policy.
    """
    try:
        if checkpoint := checkpoint_of(policy.policy, policy.checkpoint):
            require_network(policy.policy)
            keys = sorted({find_embodiment(robot).unnorm_key for robot in robots})
            for fallback in keys or [None]:
                check_loads(checkpoint, policy.parameters.get("unnorm_key", ""), fallback)
        policy.inputs.check_backends()
    except InputError as error:
        raise InputError(f"policy {policy.label}: {error}") from None


def unique(policies: Sequence[EvaluatedPolicy]) -> list[EvaluatedPolicy]:
    """:raises InputError: when two policies have the same label, or there is no policy."""
    if not policies:
        raise InputError("policies: expected at least one")
    labels = [policy.label for policy in policies]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"policies: expected different labels, got {label!r} twice; write another=… before one")
    return list(policies)


def at_latencies(
    policies: Sequence[EvaluatedPolicy], executions: Sequence[str], latencies: Sequence[float]
) -> list[EvaluatedPolicy]:
    """Every policy in realtime with every execution and every added latency (milliseconds)."""
    return [
        replace(
            policy,
            label=f"{policy.label}@{execution}+{latency:g}ms",
            pacing="realtime",
            execution=execution,
            added_latency=float(latency),
        )
        for policy in policies
        for execution in executions
        for latency in latencies
    ]


def _is_milliseconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < float("inf")
