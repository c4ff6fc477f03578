"""Settings and patches that make ManiSkill 3's environments behave as this package needs."""

import gc
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.sim import expert
from stvla_ros.sim.maniskill.assets import ROBOTS_WITH_ASSETS, find_assets
from stvla_ros.sim.maniskill.shaders import without_reflections
from stvla_ros.sim.task import Task


@dataclass(frozen=True)
class Robot:
    """Facts about a robot that ManiSkill stores in different ways, or not at all.

    :param camera: name of the one camera that is used; ``image_size`` is its (width, height) in pixels by default.
    :param control_mode: ManiSkill's name of the controller that takes end-effector deltas from its target pose.
    :param tool_link: link whose pose that controller steers.
    :param finger_joint: joint that measures the opening; ``closed`` and ``opened`` are its ends of travel, metres.
    :param hand: names of the links that people call the gripper.
    :param finger_range: targets of that joint at the controller's -1 and +1, metres; beyond both ends, in order to
        press.
    """

    camera: str
    image_size: tuple[int, int]
    control_mode: str
    tool_link: str
    finger_joint: str
    closed: float
    opened: float
    finger_range: tuple[float, float]
    hand: tuple[str, ...]
    axes: expert.GripperAxes


_X, _Y, _Z = np.eye(3)
ROBOTS = {
    "widowx": Robot(
        camera="3rd_view_camera",
        image_size=(640, 480),
        control_mode="arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
        tool_link="ee_gripper_link",
        finger_joint="right_finger",
        closed=0.015,
        opened=0.037,
        finger_range=(0.014, 0.038),
        hand=("gripper_link", "gripper_prop_link", "gripper_bar_link", "left_finger_link", "right_finger_link"),
        axes=expert.GripperAxes(approach=_X, opening=_Y),
    ),
    "panda": Robot(
        camera="base_camera",
        image_size=(640, 480),
        control_mode="pd_ee_target_delta_pose",
        tool_link="panda_hand_tcp",
        finger_joint="panda_finger_joint1",
        closed=0.0,
        opened=0.04,
        finger_range=(-0.01, 0.04),
        hand=("panda_hand", "panda_leftfinger", "panda_rightfinger"),
        axes=expert.GripperAxes(approach=_Z, opening=_Y),
    ),
}

# Lines that ManiSkill logs on every start and that need no action.
_KNOWN_NOISE = (
    "Mimic targets dictionary is missing",
    "No initial pose set for actor builder",
    "Requested to use render device",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the known noise, and nothing else."""

    def wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_KNOWN_NOISE)

    logger = logging.getLogger("mani_skill ")  # the name does end in a space
    logger.addFilter(wanted)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy.ndarrays")
            yield
    finally:
        logger.removeFilter(wanted)


@contextmanager
def one_thread() -> Iterator[None]:
    """ManiSkill's tensors are so small that torch's threads only wait for each other: 167 instead of 47 ms a step
    were measured on two busy cores.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def gripper_action(opening: float, robot: Robot) -> float:
    """The controller's command, -1..1, for an opening 0..1. Between 0 and 1 the gripper takes exactly that opening; at
    0 and 1 it presses against its ends of travel.
    """
    inner = np.array([0.05, 0.95])
    fingers = robot.closed + inner * (robot.opened - robot.closed)
    lower, upper = robot.finger_range
    actions = 2.0 * (fingers - lower) / (upper - lower) - 1.0
    return float(np.interp(opening, [0.0, *inner, 1.0], [-1.0, *actions, 1.0]))


def _spare_the_collector() -> None:
    """Take all that is there now (modules, of torch above all) out of the garbage collector's work, once in a process.
    ManiSkill collects garbage at every reset, which was four fifths of a reset's time.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def make_gym(task: Task, robot: Robot, width: int, height: int, render: bool) -> Any:
    """ManiSkill's own environment of a task, without gymnasium's wrappers.

    :raises InputError: when the task's files are not available.
    """
    needs_assets = task.robot in ROBOTS_WITH_ASSETS
    try:
        root = find_assets(download=needs_assets)
    except InputError:
        if needs_assets:
            raise
    else:
        # Read only once, on import; set for every task, because others may follow.
        os.environ["MS_ASSET_DIR"] = str(root)
    import gymnasium
    import mani_skill
    import mani_skill.envs  # registers the environments
    from mani_skill.envs.tasks.digital_twins.base_env import BaseDigitalTwinEnv
    from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv

    import stvla_ros.sim.maniskill.memory_environments  # noqa: F401  (registers ours)

    if needs_assets and mani_skill.ASSET_DIR.parent.resolve() != root.resolve():
        imported = mani_skill.ASSET_DIR.parent
        raise InputError(f"MS_ASSET_DIR: expected {root}, but mani_skill was imported before with {imported}")
    # The class declares colour only, although its cameras render depth as well.
    BaseBridgeEnv.SUPPORTED_OBS_MODES = ["none", "rgb+segmentation", "rgb+depth+segmentation"]
    camera: dict[str, Any] = {"width": width, "height": height}
    if task.robot == "widowx":
        camera["intrinsic"] = _bridge_intrinsics(width, height)
    else:
        camera["fov"] = 1.1  # vertical, radians; at ManiSkill's own 1.57 the cube is a few pixels large
    _spare_the_collector()
    with quiet(), without_reflections():
        env = gymnasium.make(
            task.simulator_id,
            num_envs=1,
            obs_mode="rgb+depth+segmentation" if render else "none",
            control_mode=robot.control_mode,
            sim_backend="physx_cpu",
            render_backend="gpu",  # falls back to the CPU where there is none
            sim_config={"control_freq": round(task.control_hz)},
            sensor_configs={robot.camera: camera},
        )
    env = env.unwrapped  # without gymnasium's wrappers: the caller has its own time limit
    if task.reversed:
        env.source_obj_name, env.target_obj_name = env.target_obj_name, env.source_obj_name
    if isinstance(env, BaseDigitalTwinEnv):
        # These belong to the class: another environment would replace this one's photograph and add to its foreground.
        env._rgb_overlay_images = dict(env._rgb_overlay_images)
        BaseDigitalTwinEnv._objects_to_remove_from_greenscreen = []
    return env


def _bridge_intrinsics(width: int, height: int) -> np.ndarray:
    """(3, 3) pinhole matrix of the bridge tasks' camera at another size. SAPIEN's pixel edges are at integers: all
    entries scale.
    """
    native = np.array([[623.588, 0.0, 319.501], [0.0, 623.588, 239.545], [0.0, 0.0, 1.0]])
    return np.diag([width / 640, height / 480, 1.0]) @ native
