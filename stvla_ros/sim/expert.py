"""A scripted expert for pick-and-place tasks that sees the simulator's true state.

It has no memory: each answer follows from the state alone. So it works in any state (after a slip, a push, or noise on
the actions), and late answers still lead to the goal.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction

MAX_TRANSLATION = 0.03  # metres a step
MAX_ROTATION = 0.3  # radians a step


@dataclass(frozen=True)
class Steering:
    """How the expert steers a controller: one action towards an aim.

    :param gain: commanded share of the way that is left, above 0. Answers to an observation that is one or two steps
        old still settle at the aim when about 0.4 of it is *reached* in a step. 0.8 is a quarter faster with fresh
        observations, but oscillates with late ones. A controller that reaches only a part of each command and forgets
        the rest takes more than 1.
    :param translation: largest commanded translation, metres a step.
    :param rotation: largest commanded rotation, radians a step.
    """

    gain: float = 0.4
    translation: float = MAX_TRANSLATION
    rotation: float = MAX_ROTATION


@dataclass(frozen=True)
class GripperAxes:
    """Directions in the tool point's own frame, unit vectors.

    :param approach: (3,) direction from the palm to the fingertips.
    :param opening: (3,) direction in which the fingers move.
    """

    approach: np.ndarray
    opening: np.ndarray


@dataclass(frozen=True)
class ExpertState:
    """The state that the expert may see. Poses and positions are in the robot's base frame (z up), metres.

    :param base_from_target: (4, 4) pose of the tool point that actions move: what the controller steers to, or the
        present pose if the controller starts each step from there.
    :param base_from_gripper: (4, 4) present pose of the tool point.
    :param gripper: gripper opening, 0 closed to 1 open.
    :param grasped: whether the fingers hold the object.
    :param object_position: (3,) origin of the object to move.
    :param object_axis: (3,) long axis of the object, a unit vector; its sign has no meaning.
    :param goal_position: (3,) place where the object must go: the origin of the thing that it must lie on, or a point.
    """

    base_from_target: np.ndarray
    base_from_gripper: np.ndarray
    gripper: float
    grasped: bool
    object_position: np.ndarray
    object_axis: np.ndarray
    goal_position: np.ndarray


@dataclass(frozen=True)
class GraspPlan:
    """The expert's knowledge about one task. Lengths in metres.

    :param grasp_height: height of the tool point above the object's origin when the fingers close.
    :param grasp_shift: shift of the grasp along the object's long axis, towards the robot.
    :param hover: height above the grasp at which the gripper moves sideways.
    :param carry: height of the object's origin above the goal while it is carried; unused if the object is not
        released.
    :param release: height of the object's origin above the goal below which the fingers open; None to keep holding it
        there.
    :param symmetry: smallest angle, radians, about the vertical by which the grasp may be turned.
    :param heading: direction of the fingers' opening in the base frame, radians from x towards y. Of the grasps that
        the symmetry allows, the nearest to it is taken. For objects without a long side it is the direction at the
        start. For objects with one it is half a right angle from there, so that objects lying along or across the table
        are far from the direction at which the choice changes.
    :param lean: angle, radians, from straight down by which the gripper points away from the robot's base: some arms
        cannot point straight down far out.
    :param placed_radius: horizontal distance from the goal within which the object counts as delivered.
    :param empty: opening, 0 closed to 1 open, below which the fingers hold nothing: what they reach without the object.
    :param steering: steering of the robot's controller.
    """

    grasp_height: float
    carry: float
    release: float | None
    grasp_shift: float = 0.0
    hover: float = 0.08
    symmetry: float = np.pi
    heading: float = np.pi / 4
    lean: float = 0.0
    placed_radius: float = 0.015
    empty: float = 0.05
    steering: Steering = Steering()


# The Google robot's arm reaches three tenths of a translation or rotation in the control step (a third of a second),
# and the next step starts from there (docs/how-to/set-up-simpler-env.md): 1.3 reaches 0.4 of the way.
_GOOGLE = Steering(gain=1.3, translation=0.1, rotation=0.5)

# Found by trial in ManiSkill 3 and, for the can, in SimplerEnv (python -m bench.expert_success).
PLANS = {
    "stack_cube": GraspPlan(
        grasp_height=0.006, carry=0.06, release=0.036, symmetry=np.pi / 2, heading=np.pi / 2, placed_radius=0.008
    ),
    "carrot_on_plate": GraspPlan(grasp_height=0.006, carry=0.07, release=0.035, placed_radius=0.02),
    "spoon_on_towel": GraspPlan(grasp_height=0.0, grasp_shift=0.02, carry=0.06, release=0.025, placed_radius=0.02),
    "eggplant_in_basket": GraspPlan(grasp_height=0.004, hover=0.13, carry=0.15, release=0.11, placed_radius=0.025),
    "panda_pick_cube": GraspPlan(
        grasp_height=0.0, carry=0.0, release=None, symmetry=np.pi / 2, heading=-np.pi / 2, placed_radius=0.02
    ),
    "pick_coke_can": GraspPlan(
        grasp_height=0.0,
        carry=0.0,
        release=None,
        hover=0.1,
        heading=3 * np.pi / 4,
        lean=0.45,
        empty=0.25,
        steering=_GOOGLE,
    ),
}

_ALIGNED = 0.010  # metres sideways within which the gripper may go all the way down
_FUNNEL = 0.03  # further metres, up to where it must be at full height
_SWEEPING = 0.02  # metres sideways within which a low gripper may push the object; beyond twice that it does not
_AT_GRASP = 0.012  # metres from the grasp at which the fingers close; more than the arm's remaining error after a step
_TURNED = 0.2  # radians within which the fingers count as turned to the object
_TURNING = 0.6  # further radians, up to where it must be at full height
_LIFTED = 0.03  # metres below the carrying height at which the object may move sideways
# Horizontal part of the long axis, a unit vector's, below which an object stands on its end: there is no "across" it.
_STANDING = 0.5


def expert_action(state: ExpertState, plan: GraspPlan, axes: GripperAxes) -> EndEffectorAction:
    """The expert's action in the given state."""
    steering = plan.steering
    gripper_at = state.base_from_gripper[:3, 3]
    if state.grasped:
        aim, opening = _bring(state, plan, gripper_at)
    elif _is_placed(state, plan):
        aim, opening = gripper_at + [0.0, 0.0, steering.translation], 1.0
    else:
        aim, opening = _fetch(state, plan, axes, gripper_at)
    turn = _grasping(state, plan, axes) * Rotation.from_matrix(state.base_from_target[:3, :3]).inv()
    return EndEffectorAction(
        translation=limited(steering.gain * (aim - state.base_from_target[:3, 3]), steering.translation),
        rotation=limited(steering.gain * turn.as_rotvec(), steering.rotation),
        gripper=opening,
    )


def _fetch(state: ExpertState, plan: GraspPlan, axes: GripperAxes, gripper_at: np.ndarray) -> tuple[np.ndarray, float]:
    """The target of the tool point and of the gripper's opening while nothing is held."""
    grasp = state.object_position + plan.grasp_shift * _towards_robot(state) + [0.0, 0.0, plan.grasp_height]
    sideways = float(np.linalg.norm(grasp[:2] - gripper_at[:2]))
    turn = _turn_left(state, plan, axes)
    if state.gripper < plan.empty:  # missed: up and open, then the approach starts again
        return gripper_at + [0.0, 0.0, plan.steering.translation], 1.0
    if sideways < _AT_GRASP and turn < _TURNED and abs(gripper_at[2] - grasp[2]) < _AT_GRASP:
        return grasp, 0.0
    astray = max(_funnel(sideways, _ALIGNED, _FUNNEL), _funnel(turn, _TURNED, _TURNING))
    aim = grasp + [0.0, 0.0, plan.hover * astray]
    # Low beside the object: rise before moving over it.
    low = 1.0 - _funnel(gripper_at[2] - grasp[2], plan.hover / 4, plan.hover / 4)
    rise_first = low * _funnel(sideways, _SWEEPING, _SWEEPING)
    aim[:2] += rise_first * (gripper_at[:2] - aim[:2])
    return aim, 1.0


def _bring(state: ExpertState, plan: GraspPlan, gripper_at: np.ndarray) -> tuple[np.ndarray, float]:
    """The target of the tool point and of the gripper's opening while the object is held."""
    in_grip = state.object_position - gripper_at
    left = state.goal_position - state.object_position
    if plan.release is None:
        return state.goal_position - in_grip, 0.0
    sideways = float(np.linalg.norm(left[:2]))
    # Aim slightly lower than where the fingers open, so that the way down does not end above that height.
    low = plan.release - 0.006
    height = low + (plan.carry - low) * _funnel(sideways, plan.placed_radius, _FUNNEL)
    object_aim = state.goal_position + [0.0, 0.0, height]
    if state.object_position[2] < object_aim[2] - _LIFTED:
        object_aim[:2] = state.object_position[:2]
    return object_aim - in_grip, 1.0 if sideways < plan.placed_radius and -left[2] <= plan.release else 0.0


def _funnel(off: float, radius: float, width: float) -> float:
    """0 within the radius of the target, rising to 1 at ``width`` beyond it, without a jump. With a jump, late answers
    would oscillate about it. And a policy that sees less sharply than the expert would learn the mean of both sides,
    which leads nowhere.
    """
    return float(np.clip((off - radius) / width, 0.0, 1.0))


def _is_placed(state: ExpertState, plan: GraspPlan) -> bool:
    if plan.release is None:
        return False
    offset = state.object_position - state.goal_position
    return bool(np.linalg.norm(offset[:2]) < 2 * plan.placed_radius and 0.0 < offset[2] < plan.release + 0.01)


def _towards_robot(state: ExpertState) -> np.ndarray:
    axis = state.object_axis * [1.0, 1.0, 0.0]
    return -axis * np.sign(axis @ state.object_position) / max(float(np.linalg.norm(axis)), 1e-9)


def _grasping(state: ExpertState, plan: GraspPlan, axes: GripperAxes) -> Rotation:
    """The rotation of the tool point that points down (or leans), with the fingers across the object's long axis.

    Among equivalent rotations, the object's place decides, not the gripper's present rotation. A choice that depends on
    the last degree of the gripper's rotation cannot be learned from pictures, and answers that alternate turn nothing.
    """
    target = Rotation.from_matrix(state.base_from_target[:3, :3])
    across = np.cross([0.0, 0.0, 1.0], state.object_axis)
    lean = _leaning(state, plan)
    # While it is carried, the object turns with the gripper: keep the heading.
    if state.grasped or np.linalg.norm(across) < _STANDING:
        now = (lean.inv() * target).apply(axes.opening)
        heading = np.arctan2(now[1], now[0])
    else:
        wanted = np.arctan2(across[1], across[0])
        heading = wanted + plan.symmetry * np.round((plan.heading - wanted) / plan.symmetry)
    down, opening = np.array([0.0, 0.0, -1.0]), np.array([np.cos(heading), np.sin(heading), 0.0])
    in_base = np.stack([down, opening, np.cross(down, opening)], axis=1)
    in_tool = np.stack([axes.approach, axes.opening, np.cross(axes.approach, axes.opening)], axis=1)
    return lean * Rotation.from_matrix(in_base @ in_tool.T)


def _leaning(state: ExpertState, plan: GraspPlan) -> Rotation:
    """The rotation that turns "down" by the plan's lean, away from the base at the object's place."""
    outwards = state.object_position * [1.0, 1.0, 0.0]
    axis = np.cross(outwards, [0.0, 0.0, 1.0]) / max(float(np.linalg.norm(outwards)), 1e-9)
    return Rotation.from_rotvec(plan.lean * axis)


def _turn_left(state: ExpertState, plan: GraspPlan, axes: GripperAxes) -> float:
    gripper = Rotation.from_matrix(state.base_from_gripper[:3, :3])
    return float((_grasping(state, plan, axes) * gripper.inv()).magnitude())


def limited(vector: np.ndarray, limit: float) -> np.ndarray:
    """The vector, shortened if it is longer than the limit."""
    length = float(np.linalg.norm(vector))
    return vector if length <= limit else vector * (limit / length)
