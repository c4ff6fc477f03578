"""The key of an episode to run, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class EpisodeKey:
    """One episode to run.

    :param policy: label of the policy.
    :param episode: official id within the task.
    """

    task: str
    policy: str
    seed: int
    episode: int

    @property
    def file_stem(self) -> str:
        """Path of its pictures, without ending, below the output folder's ``pictures``."""
        return f"{self.policy}/{self.task.replace('/', '-')}/seed{self.seed}_episode{self.episode:03d}"


@dataclass(frozen=True)
class EpisodeResult:
    """The result of an episode.

    :param success: whether the success condition held at its end.
    :param ever: whether it held after any step.
    :param conditions: whether each goal condition held after any step, by name.
    :param steps: number of control steps that were run.
    :param held_steps: number of these without a command (realtime only).
    :param inference_ms: wall time of the policy's calls: their number, mean, p50, p99. Not part of any table.
    """

    key: EpisodeKey
    success: bool
    ever: bool
    steps: int
    instruction: str = ""
    conditions: Mapping[str, bool] = field(default_factory=dict)
    held_steps: int = 0
    inference_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def conditions_met(self) -> float:
        """Share of the goal conditions that were met, 0 to 1. If none are known, success counts as the only one."""
        return sum(self.conditions.values()) / len(self.conditions) if self.conditions else float(self.ever)
