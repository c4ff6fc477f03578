"""The initial configurations in SimplerEnv's evaluation scripts (visual matching), as options of its ``reset``.

Upstream passes these on the command line of ``scripts/*_visual_matching.sh``. Its prepackaged environments draw some of
them at random instead; an episode id would then have no meaning. The numbers are taken from those scripts. Random
placements for demonstrations are drawn around them (``regions.py``).
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.errors import InputError
from stvla_ros.sim.regions import REGIONS, Placement, draw_placement
from stvla_ros.sim.simpler_env.tasks import PREFIX, task_named

# --obj-init-x -0.35 -0.12 5 --obj-init-y -0.02 0.42 5, metres, the y value changes fastest.
_CAN_POSITIONS = tuple(itertools.product(np.linspace(-0.35, -0.12, 5), np.linspace(-0.02, 0.42, 5)))
# In the order of the task with all three: upstream's name, the word in the tasks' names, upstream's rotation.
_CAN_ORIENTATIONS = (
    ("lr_switch", "horizontal", Rotation.from_euler("z", np.pi)),
    ("upright", "standing", Rotation.from_euler("x", np.pi / 2)),
    ("laid_vertically", "vertical", Rotation.from_euler("z", np.pi / 2)),
)
# Largest way of an object while it settles, and largest turn: beyond, it rolled away or fell over.
_SETTLES_WITHIN_M, _SETTLES_WITHIN_RAD = 0.02, np.deg2rad(10.0)
# --obj-init-x-range -0.08 -0.02 3 --obj-init-y-range -0.02 0.08 3.
_PLACE_POSITIONS = tuple(itertools.product(np.linspace(-0.08, -0.02, 3), np.linspace(-0.02, 0.08, 3)))
# Background picture -> robot base (x m, y m, yaw rad) in front of the drawers.
_DRAWER_STANDS = {
    "a0": (0.644, -0.179, -0.03),
    "a1": (0.765, -0.182, -0.02),
    "a2": (0.889, -0.203, -0.06),
    "b0": (0.652, 0.009, 0.0),
    "b1": (0.752, 0.009, 0.0),
    "b2": (0.851, 0.035, 0.0),
    "c0": (0.665, 0.224, 0.0),
    "c1": (0.765, 0.222, -0.025),
    "c2": (0.865, 0.222, -0.025),
}
_PLACE_STANDS = ("a0", "b0", "c0")
_DRAWERS = ("top", "middle", "bottom")


@dataclass(frozen=True)
class DrawerStand:
    """The robot's place in front of the drawers, and the background picture for it.

    :param picture: file name below the assets' ``real_inpainting`` folder.
    :param xy: (2,) position of the robot's base, metres, world frame.
    :param quaternion: (4,) orientation of the robot's base, w first.
    """

    picture: str
    xy: np.ndarray
    quaternion: np.ndarray


@dataclass(frozen=True)
class Episode:
    """One initial configuration.

    :param options: ``options`` for upstream's ``reset``.
    :param drawer: ``top``, ``middle`` or ``bottom``; None if the task fixes it or has no drawers.
    :param stand: place of the robot; None if there are no drawers.
    """

    options: dict[str, Any] = field(default_factory=dict)
    drawer: str | None = None
    stand: DrawerStand | None = None


def episode(task: str, episode_id: int) -> Episode:
    """The configuration of the task's episode ``episode_id``.

    :raises InputError: when the task or the episode does not exist.
    """
    known = task_named(task)
    name = known.simulator_id
    if not 0 <= episode_id < known.num_episodes:
        raise InputError(f"episode_id: expected 0..{known.num_episodes - 1} for {name}, got {episode_id}")
    if "drawer" in name:
        return _drawer_episode(name, episode_id)
    if "pick" in name:
        orientation, position = divmod(episode_id, len(_CAN_POSITIONS))
        options: dict[str, Any] = {"init_xy": list(_CAN_POSITIONS[position])}
        if name == "google_robot_pick_coke_can":
            options["orientation"] = _CAN_ORIENTATIONS[orientation][0]
        return Episode({"obj_init_options": options})
    return Episode({"obj_init_options": {"episode_id": episode_id}})


def random_episode(task: str, random: np.random.Generator) -> Episode:
    """A configuration for demonstrations: a random place of the can in the task's region, never as in ``episode``.

    :raises InputError: when the task has no random placements.
    """
    name = task_named(task).simulator_id
    if "coke_can" not in name:
        raise InputError(f"task {PREFIX}{name}: it has no random placements, only its official episodes")
    official = [
        Placement(np.array([[x, y, 0.0]]), rotation.as_quat()[None, [3, 0, 1, 2]])
        for _, word, rotation in _CAN_ORIENTATIONS
        if name in ("google_robot_pick_coke_can", f"google_robot_pick_{word}_coke_can")
        for x, y in _CAN_POSITIONS
    ]
    drawn = draw_placement(REGIONS["google_robot_pick_coke_can"], official, random)
    return Episode(
        {"obj_init_options": {"init_xy": drawn.positions[0, :2].tolist(), "init_rot_quat": drawn.quaternions[0]}}
    )


def has_settled(episode: Episode, position: np.ndarray, quaternion: np.ndarray) -> bool:
    """Whether the object of a random episode lies about where it was put.

    :param position: (3,) metres, world frame, after it came to rest.
    :param quaternion: (4,) w first.
    """
    put = episode.options["obj_init_options"]
    moved = np.linalg.norm(np.asarray(position)[:2] - put["init_xy"])
    rotations = [Rotation.from_quat(np.asarray(each)[[1, 2, 3, 0]]) for each in (put["init_rot_quat"], quaternion)]
    turned = (rotations[0].inv() * rotations[1]).magnitude()
    return bool(moved < _SETTLES_WITHIN_M and turned < _SETTLES_WITHIN_RAD)


def _drawer_episode(name: str, episode_id: int) -> Episode:
    options: dict[str, Any] = {}
    place = "place" in name
    stands = _PLACE_STANDS if place else tuple(_DRAWER_STANDS)
    rest = episode_id
    if place:
        rest, position = divmod(rest, len(_PLACE_POSITIONS))
        options["obj_init_options"] = {"init_xy": list(_PLACE_POSITIONS[position])}
    drawer, stand = divmod(rest, len(stands))
    # The tasks named after a drawer set it themselves; the others draw it at random if it is not given.
    fixed = any(f"_{word}_drawer" in name for word in _DRAWERS)
    return Episode(options, None if fixed else _DRAWERS[drawer], _stand(stands[stand]))


def _stand(name: str) -> DrawerStand:
    x, y, yaw = _DRAWER_STANDS[name]
    # Yaw half a turn, then the script's small correction: the robot faces the drawers.
    quaternion = (Rotation.from_euler("z", yaw) * Rotation.from_euler("z", np.pi)).as_quat()
    return DrawerStand(f"open_drawer_{name}.png", np.array([x, y]), quaternion[[3, 0, 1, 2]])
