"""One process that runs episodes for the runner, one after the other.

Nothing heavy is imported at the top: environment variables set the number of threads of the renderer and torch, and
must be set before these are loaded.
"""

import os
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.child_process import end_with_parent
from stvla_ros.errors import InputError

if TYPE_CHECKING:
    from stvla_ros.acting.episode import Rules
    from stvla_ros.sim.environment import Environment

ONE_THREAD = dict.fromkeys(("LP_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
PICTURES = ("videos", "thumbnails", "none")


@dataclass(frozen=True)
class Failure:
    """The reason why an episode gave no result.

    :param message: reason in one line.
    :param of_policy: whether the policy itself cannot be loaded; then its other episodes need not be tried.
    """

    message: str
    of_policy: bool = False


class PolicyUnusable(InputError):
    """A policy or its perception cannot be made."""


@dataclass(frozen=True)
class WorkerSettings:
    """The settings of every worker of a run.

    :param policies: policies by label.
    :param rules: rules that say when episodes end.
    :param pictures: kind of pictures that are kept, one of ``PICTURES``.
    :param folder: folder of these pictures.
    :param make_environment: function ``(task, render=…)`` of a module, or a ``functools.partial`` of one.
    """

    policies: Mapping[str, EvaluatedPolicy]
    rules: "Rules"
    pictures: str
    folder: Path
    make_environment: Callable[..., "Environment"]


def work(connection: Connection, settings: WorkerSettings) -> None:
    """Answer every :class:`EpisodeKey` with its result or a :class:`Failure`, until None arrives."""
    # Ctrl-C reaches the whole process group; the runner decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ.update(ONE_THREAD)
    try:
        with _Episodes(settings) as episodes:
            while (key := connection.recv()) is not None:
                try:
                    answer: EpisodeResult | Failure = episodes.run(key)
                except InputError as error:
                    answer = Failure(str(error), isinstance(error, PolicyUnusable))
                except Exception as error:  # a simulator or a policy may raise anything; the other episodes continue
                    traceback.print_exc()
                    name = f"{key.policy} on {key.task}, seed {key.seed}, episode {key.episode}"
                    answer = Failure(f"{name}: {type(error).__name__}: {error}")
                connection.send(answer)
    except (EOFError, OSError):
        pass  # the runner has ended


class _Episodes:
    """Keeps the last episode's environment and policy: making them takes longer than most episodes."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._environment: Any = None
        self._environment_of: tuple[str, bool] | None = None
        self._policy: Any = None
        self._policy_of: tuple[str, str] | None = None

    def run(self, key: EpisodeKey) -> EpisodeResult:
        from stvla_ros.acting import episode as rollout
        from stvla_ros.evaluation.episode_pictures import EpisodePictures

        evaluated = self._settings.policies[key.policy]
        pictures = self._settings.pictures
        rendered = pictures != "none" or not evaluated.sightless
        environment = self._environment_for(key.task, rendered)
        policy, observer = self._policy_for(evaluated, key, environment.info.robot, rendered)
        control = rollout.make_control(evaluated, policy, environment)
        run = (environment, key, observer, control, self._settings.rules)
        if pictures == "none":
            return rollout.run_episode(*run)
        stem = self._settings.folder / key.file_stem
        title = f"{key.task} {key.episode}, {key.policy}"
        with EpisodePictures(stem, title, environment.info.control_hz, pictures == "videos") as kept:
            return rollout.run_episode(*run, watch=kept.watch)

    def _environment_for(self, task: str, render: bool) -> "Environment":
        if self._environment_of != (task, render):
            self.close()
            self._environment = self._settings.make_environment(task, render=render)
            self._environment_of = (task, render)
        return self._environment

    def _policy_for(self, evaluated: EvaluatedPolicy, key: EpisodeKey, robot: str, rendered: bool) -> tuple[Any, Any]:
        from stvla_ros.acting.episode import load_evaluated_policy, policy_seed
        from stvla_ros.policy.observer import Observer

        wanted = (evaluated.label, robot)
        if self._policy_of != wanted:
            self._policy = self._policy_of = None  # never two networks in memory
            try:
                policy = load_evaluated_policy(evaluated, robot, policy_seed(key))
                self._policy = policy, Observer(evaluated.inputs, rendered)
            except InputError as error:
                raise PolicyUnusable(f"policy {evaluated.label}: {error}") from error
            self._policy_of = wanted
        policy = self._policy[0]
        if policy.draws_at_random and "seed" not in evaluated.given_parameters():
            # The policy is seeded anew for every episode, so that the order of the episodes does not matter.
            policy.reseed(policy_seed(key))
        return self._policy

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = self._environment_of = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
