"""Pictures with questions out of the simulator: of placements without anybody acting, and of demonstrations' frames."""

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
"""Placements that are recorded, and kept or lost, together."""
OF_AN_EPISODE = 8
"""Frames of a demonstration that are asked about, at most."""
# Takes part in the seeds, so that no placement here is a demonstration's.
_GROUNDING = 0x6D


@dataclass(frozen=True, eq=False)
class _Watched:
    rgb: np.ndarray
    things: SeenThings
    points: np.ndarray | None


class Watcher:
    """Keeps what can be asked about an episode's frames.

    :param with_way: whether the gripper's way is the expert's, so that it may be asked for.
    """

    def __init__(self, environment: Environment, with_way: bool = True) -> None:
        self._environment, self._with_way = environment, with_way
        self._frames: list[_Watched] = []
        self._intrinsics = np.eye(3)

    def __call__(self, observation: Observation) -> None:
        """The environment's last observation is the episode's next frame.

        :raises InputError: where the simulator does not tell what shows in it.
        """
        things = self._environment.seen_things()
        if things is None:
            task = self._environment.info.task
            raise InputError(f"task {task}: its simulator does not tell where things show, so it has no grounding data")
        self._intrinsics = observation.intrinsics
        self._frames.append(_Watched(observation.rgb, things, self._environment.scene_points()))

    def asked(self, most: int, random: np.random.Generator) -> list[AskedPicture]:
        """
        :param most: frames, spread evenly over the episode.
        :param random: what wordings are drawn from.
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
    """Placements at random, before anybody acts.

    :param seeds: what all of them follow from.
    :param numbers: of the placements.
    :param file: where they are kept.
    :raises InputError: for a task without random placements, or a simulator that does not tell what shows.
    """
    pictures: list[AskedPicture] = []
    for number in numbers:
        entropy = np.random.SeedSequence([*seeds, _GROUNDING, number])
        observation = environment.reset_random(int(entropy.generate_state(1)[0]))
        watcher = Watcher(environment)
        watcher(observation)
        pictures += watcher.asked(1, np.random.default_rng(entropy.spawn(1)[0]))
    stage(file, pictures)
