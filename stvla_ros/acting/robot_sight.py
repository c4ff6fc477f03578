"""Computes where a simulated robot is in its camera's pictures, for observers whose tracker needs it."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stvla_ros.errors import InputError
from stvla_ros.perception.robot_view import RobotView
from stvla_ros.policy.observer import Observer, Seen
from stvla_ros.sim.environment import EnvironmentInfo, Observation

if TYPE_CHECKING:
    from stvla_ros.robots.robot_links import RobotLinks


class RobotSight:
    """
    :param observer: observer whose tracker decides whether anything is computed.
    :param info: facts about the observations' environment.
    :raises InputError: when the robot is needed and the simulator has no URDF of it, or an unreadable one.
    """

    def __init__(self, observer: Observer, info: EnvironmentInfo) -> None:
        self._observer = observer
        self._links: RobotLinks | None = None
        if observer.needs_robot:
            if info.urdf is None:
                raise InputError(f"task {info.task}: its simulator has no URDF, which the tracker needs")
            self._links = _links(info.urdf)

    def observe(self, observation: Observation, stamp: int, instruction: str) -> Seen:
        """See ``Observer.observe``."""
        o = observation
        return self._observer.observe(o.rgb, o.depth, o.intrinsics, stamp, instruction, self._view(o))

    def _view(self, observation: Observation) -> RobotView | None:
        if self._links is None:
            return None
        joints = dict(zip(observation.joint_names, observation.joint_positions.tolist(), strict=True))
        return self._links.view(joints, observation.base_from_camera, observation.intrinsics)


@lru_cache(maxsize=4)
def _links(urdf: Path) -> "RobotLinks":
    from stvla_ros.robots.robot_links import RobotLinks  # Pinocchio, which no other tracker needs

    return RobotLinks(urdf)
