"""Actions that nobody told: an inverse model, trained on few demonstrations, says what led from a frame to the next.

The inverse model is a policy that has seen the outcome: it is trained on frames whose action is that of the frame
before, with the frame before as its earlier picture.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.demonstrations.changed_copy import write_changed_copy
from stvla_ros.learning.training.selection import choose_episodes
from stvla_ros.policy import load_policy
from stvla_ros.policy.base import Picture

_GRIPPER = 6


def after_the_fact(episode: Demonstration) -> Demonstration:
    """The episode with each frame's action one frame later. Nothing led to the first frame: no motion."""
    return replace(
        episode,
        action=_later(episode.action),
        executed_action=None if episode.executed_action is None else _later(episode.executed_action),
    )


def _later(actions: np.ndarray) -> np.ndarray:
    still = np.zeros_like(actions[:1])
    still[:, _GRIPPER] = actions[:1, _GRIPPER]
    return np.concatenate([still, actions[:-1]])


def write_after_the_fact(source: Path, output: Path) -> None:
    """A copy of a data set for the training of an inverse model, unless it is there.

    :param source: data set of `stvla record`.
    :param output: folder of the copy.
    """
    write_changed_copy(source, output, lambda _, episode: after_the_fact(episode))


def write_pseudo_labels(source: Path, checkpoint: Path, labelled: int, output: Path) -> None:
    """A copy of a data set with an inverse model's actions, unless it is there.

    :param source: data set of `stvla record`.
    :param checkpoint: folder of the inverse model.
    :param labelled: number of episodes of each instruction that keep their own actions.
    :param output: folder of the copy.
    :raises InputError: for a checkpoint that cannot be used.
    """
    if output.is_dir():
        return
    model = load_policy(str(checkpoint))
    own = set(choose_episodes(LeRobotReader(source).instructions(), labelled))

    def told(number: int, episode: Demonstration) -> Demonstration:
        if number not in own:
            inferred = inferred_actions(model, episode)
            return replace(episode, action=inferred, executed_action=inferred)
        return episode if episode.executed_action is not None else replace(episode, executed_action=episode.action)

    write_changed_copy(source, output, told)


def inferred_actions(model: Any, episode: Demonstration) -> np.ndarray:
    """(T, 7) float32 as ``Demonstration.action``: what led to the next frame. Of the last frame what led to it.

    :param model: inverse model, see ``load_policy``.
    """
    frames = [picture_at(episode, number) for number in range(len(episode))]
    model.reset()
    told = [
        model.predict(after.rgb, episode.instruction, after.depth, after.intrinsics, earlier=before).actions[0]
        for before, after in pairwise(frames)
    ]
    return np.array([*told, told[-1]], np.float32)


def picture_at(episode: Demonstration, number: int) -> Picture:
    """A frame as a policy is shown it, depth in metres."""
    depth = None if episode.depth is None else (episode.depth[number] / 1000.0).astype(np.float32)
    return Picture(episode.rgb[number], depth, episode.intrinsics)
