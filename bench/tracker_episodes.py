"""Episodes of the scripted expert in the simulator, recorded once so that several trackers see the same frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.robots.robot_links import RobotLinks
from stvla_ros.sim.environment import Observation
from stvla_ros.sim.maniskill.environment import ManiSkillEnvironment
from stvla_ros.sim.tasks import make_environment

TASKS = ("stack_cube", "carrot_on_plate", "spoon_on_towel", "eggplant_in_basket", "panda_pick_cube")
_GRIPPER_WORDS = ("gripper", "finger", "hand")
_BACKGROUND = "background"


def body_kind(name: str | None) -> str:
    """``gripper``, ``arm``, ``object`` or ``background`` of a body's name in the simulator."""
    if name is None or "table" in name or "ground" in name:
        return _BACKGROUND
    if any(word in name for word in _GRIPPER_WORDS):
        return "gripper"
    return "arm" if "link" in name else "object"


@dataclass
class RecordedEpisode:
    """One episode's frames. For the frame last shown, it offers ``PointTrackRecorder``'s view of an environment.

    :param urdf: file of the robot's URDF.
    :param poses: poses in the robot's base frame for each frame, of every body that has been in a picture so far.
    :param names: name of each body by its number in ``segmentations``; None for numbers that are no body.
    """

    task: str
    urdf: Path | None = None
    observations: list[Observation] = field(default_factory=list)
    segmentations: list[np.ndarray] = field(default_factory=list)
    poses: list[Mapping[int, np.ndarray]] = field(default_factory=list)
    names: dict[int, str | None] = field(default_factory=dict)
    shown: int = 0

    def __len__(self) -> int:
        return len(self.observations)

    def show(self, frame: int) -> Observation:
        self.shown = frame
        return self.observations[frame]

    def frame(self, number: int) -> tuple[np.ndarray, int, np.ndarray, RobotView]:
        """The arguments of ``Tracker.update``. Depth is in metres, the stamp is the frame's number."""
        seen = self.observations[number]
        joints = dict(zip(seen.joint_names, seen.joint_positions.tolist(), strict=True))
        robot = self._links.view(joints, seen.base_from_camera, seen.intrinsics)
        return seen.rgb, number, seen.depth.astype(np.float32) / 1000.0, robot

    @cached_property
    def _links(self) -> RobotLinks:
        assert self.urdf is not None
        return RobotLinks(self.urdf)

    @property
    def segmentation(self) -> np.ndarray:
        return self.segmentations[self.shown]

    def base_from_body(self, body: int) -> np.ndarray:
        return self.poses[self.shown][body]

    def body_name(self, body: int) -> str | None:
        return self.names.get(body)

    def kind_mask(self, frame: int, kind: str) -> np.ndarray:
        """(H, W) bool, where the frame shows bodies of that kind."""
        picture = self.segmentations[frame]
        bodies = [body for body in np.unique(picture).tolist() if body_kind(self.names.get(body)) == kind]
        return np.isin(picture, bodies)


def record_episode(
    task: str,
    episode_id: int = 0,
    slowdown: int = 1,
    max_steps: int = 60,
    image_size: tuple[int, int] | None = None,
) -> RecordedEpisode:
    """Let the expert solve a task and keep every frame.

    :param image_size: (width, height) in pixels; None for the task's own.
    :param slowdown: number of equal parts into which each of the expert's actions is divided, one frame for each.
    """
    environment = cast(ManiSkillEnvironment, make_environment(task, image_size=image_size))
    episode = RecordedEpisode(task, environment.info.urdf)
    try:

        def keep(observation: Observation) -> None:
            picture = environment.segmentation.copy()
            episode.names |= {body: environment.body_name(body) for body in np.unique(picture).tolist()}
            known = [body for body, name in episode.names.items() if name is not None]
            episode.observations.append(observation)
            episode.segmentations.append(picture)
            episode.poses.append({body: environment.base_from_body(body) for body in known})

        keep(environment.reset(episode_id))
        for _ in range(max_steps):
            action = environment.expert_action()
            part = EndEffectorAction(action.translation / slowdown, action.rotation / slowdown, action.gripper)
            for _ in range(slowdown):
                result = environment.step(part)
                keep(result.observation)
            if result.success:
                break
    finally:
        environment.close()
    return episode
