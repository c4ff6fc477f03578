"""Makes pictures with questions in the simulator: of placements without anybody acting, and of demonstrations'
frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.grounding.facts import scene_facts
from stvla_ros.learning.grounding.questions import ask
from stvla_ros.learning.grounding.writing import SIZE, AskedPicture, stage
from stvla_ros.sim.environment import Environment, Observation, SeenThings

LOT = 25
"""Number of placements that are recorded together; they are kept or lost together, too."""
OF_AN_EPISODE = 8
"""Largest number of frames of a demonstration that get questions."""
# Part of the seeds, so that no placement here is also a demonstration's.
_GROUNDING = 0x6D


@dataclass(frozen=True, eq=False)
class _Watched:
    rgb: np.ndarray
    things: SeenThings
    points: np.ndarray | None


class Watcher:
    """Keeps the facts about an episode's frames, for questions.

    :param with_way: whether the gripper's path is the expert's, so that questions may ask for it.
    """

    def __init__(self, environment: Environment, with_way: bool = True) -> None:
        self._environment, self._with_way = environment, with_way
        self._frames: list[_Watched] = []
        self._intrinsics = np.eye(3)

    def __call__(self, observation: Observation) -> None:
        """Take the environment's last observation as the episode's next frame.

        :raises InputError: when the simulator cannot tell what is visible.
        """
        things = self._environment.seen_things()
        if things is None:
            task = self._environment.info.task
            raise InputError(
                f"task {task}: its simulator cannot tell where things are in the picture, so it has no grounding data"
            )
        self._intrinsics = observation.intrinsics
        self._frames.append(_Watched(observation.rgb, things, self._environment.scene_points()))

    def asked(self, most: int, random: np.random.Generator) -> list[AskedPicture]:
        """
        :param most: largest number of frames, spread evenly over the episode.
        :param random: random numbers that choose the wordings.
        """
        frames = self._frames
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)).tolist()
        return [self._asked(number, random) for number in chosen]

    def _asked(self, number: int, random: np.random.Generator) -> AskedPicture:
        frame, coming = self._frames[number], None
        ways = [each.points[2] for each in self._frames[number:] if each.points is not None]
        if self._with_way and len(ways) > 1:
            coming = np.stack(ways)
        facts = scene_facts(self._environment.instruction, frame.things, frame.points, self._intrinsics, SIZE, coming)
        return AskedPicture(frame.rgb, ask(facts, random))


def record_placements(environment: Environment, seeds: Sequence[int], numbers: Sequence[int], file: Path) -> None:
    """Record random placements before anybody acts.

    :param seeds: numbers that all random choices follow from.
    :param numbers: numbers of the placements.
    :param file: file that keeps the pictures.
    :raises InputError: for a task without random placements, or a simulator that cannot tell what is visible.
    """
    pictures: list[AskedPicture] = []
    for number in numbers:
        entropy = np.random.SeedSequence([*seeds, _GROUNDING, number])
        observation = environment.reset_random(int(entropy.generate_state(1)[0]))
        watcher = Watcher(environment)
        watcher(observation)
        pictures += watcher.asked(1, np.random.default_rng(entropy.spawn(1)[0]))
    stage(file, pictures)
