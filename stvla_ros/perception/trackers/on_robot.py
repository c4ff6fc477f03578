"""The points that the ``kinematic`` tracker follows."""

from dataclasses import dataclass, field

import numpy as np

from stvla_ros.perception.trackers.followed import Followed


@dataclass(eq=False)
class OnRobot(Followed):
    """
    :param links: (N,) link that each point is on; "" for none.
    :param in_link: (N, 3) place in the link's frame, metres.
    :param solid: (N,) bool, whether the point was found on a surface.
    :param held: (N,) bool, whether the point is on an object that the gripper carries.
    """

    links: np.ndarray = field(default_factory=lambda: np.zeros(0, "U64"))
    in_link: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    solid: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    held: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        """New points are on no link."""
        count = len(self.ids)
        self.links, self.in_link = np.zeros(count, "U64"), np.zeros((count, 3))
        self.solid, self.held = np.ones(count, bool), np.zeros(count, bool)

    def attach(self, rows: np.ndarray, links: np.ndarray | str, in_link: np.ndarray) -> None:
        self.links[rows], self.in_link[rows] = links, in_link
