"""What the scripted expert must know about SimplerEnv's tasks and robots. Imports no simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.sim.expert import PLANS, ExpertState, GraspPlan, GripperAxes

_X, _Y, _Z = np.eye(3)
_WIDOWX = GripperAxes(approach=_X, opening=_Y)
_GOOGLE = GripperAxes(approach=_Z, opening=_Y)
# The object counts as held from this force (newtons) on each finger, up to this angle (degrees) between the force and
# the finger's travel. The ManiSkill backend has the same rule.
_GRASP_FORCE = 0.1
_GRASP_ANGLE = 85
# Height above its first place at which the expert holds what must only be lifted, metres. Upstream's success begins at
# 1 cm without contact.
_LIFT = 0.1


@dataclass(frozen=True)
class Expertise:
    """
    :param plan: the plan of the grasp.
    :param axes: directions of the robot's gripper.
    :param long_axis: column of the object's rotation along which its longest side lies.
    """

    plan: GraspPlan
    axes: GripperAxes
    long_axis: int


_CAN = Expertise(PLANS["pick_coke_can"], _GOOGLE, long_axis=1)


def _bridge(plan: GraspPlan) -> Expertise:
    return Expertise(plan, _WIDOWX, long_axis=0)


# The ManiSkill backend has the WidowX scenes with the same objects.
EXPERTISE: Mapping[str, Expertise] = {
    "widowx_stack_cube": _bridge(PLANS["stack_cube"]),
    "widowx_carrot_on_plate": _bridge(PLANS["carrot_on_plate"]),
    # A little higher than in ManiSkill: here the fingers would press on the table, and its friction keeps them from
    # closing.
    "widowx_spoon_on_towel": _bridge(replace(PLANS["spoon_on_towel"], grasp_height=0.0035)),
    "widowx_put_eggplant_in_basket": _bridge(PLANS["eggplant_in_basket"]),
    "google_robot_pick_coke_can": _CAN,
    "google_robot_pick_horizontal_coke_can": _CAN,
    "google_robot_pick_vertical_coke_can": _CAN,
    "google_robot_pick_standing_coke_can": _CAN,
}


def expert_state(scene: Any, known: Expertise, opening: float) -> ExpertState:
    """The true state, as the scripted expert's input.

    :param scene: upstream's scene of a task in ``EXPERTISE``.
    :param opening: the gripper's, 0 closed to 1 open.
    """
    agent = scene.agent
    on_target = hasattr(scene, "episode_target_obj")
    moved = scene.episode_source_obj if on_target else scene.obj
    world_from_base, world_from_tool, world_from_moved = matrices([agent.robot.pose, scene.tcp.pose, moved.pose])
    base_from_world = np.linalg.inv(world_from_base)
    goal = world_from_moved[:3, 3].copy()
    if on_target:
        goal = matrices([scene.episode_target_obj.pose])[0][:3, 3]
    else:  # straight up
        goal[2] = scene.obj_height_after_settle + _LIFT
    tool, source = base_from_world @ world_from_tool, base_from_world @ world_from_moved
    arm = agent.controller.controllers["arm"]
    return ExpertState(
        base_from_target=matrices([arm._target_pose])[0] if arm.config.use_target else tool,
        base_from_gripper=tool,
        gripper=opening,
        grasped=bool(agent.check_grasp(moved, _GRASP_FORCE * scene.sim_timestep, _GRASP_ANGLE)),
        object_position=source[:3, 3],
        object_axis=source[:3, known.long_axis],
        goal_position=(base_from_world @ [*goal, 1.0])[:3],
    )


def matrices(poses: list[Any]) -> np.ndarray:
    """(N, 4, 4) float64 of SAPIEN poses."""
    result = np.tile(np.eye(4), (len(poses), 1, 1))
    result[:, :3, :3] = Rotation.from_quat(np.array([pose.q for pose in poses])[:, [1, 2, 3, 0]]).as_matrix()
    result[:, :3, 3] = [pose.p for pose in poses]
    return result
