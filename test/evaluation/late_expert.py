"""A perfect policy: the scripted expert's chunk for a state, worked out from what it would do next and next again."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.acting.control_loop import RealtimeControl
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.sim import expert
from stvla_ros.sim.expert import ExpertState
from stvla_ros.sim.maniskill.environment import ManiSkillEnvironment
from stvla_ros.sim.tasks import make_environment

# Every answer takes three control steps, and the next one is to an observation of a step before its end: so from the
# second on answers are three steps late, and a new one comes every three steps.
LATE_S = 0.59
LENGTH = 12
PERIOD = 200_000_000
NOTHING = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)


class LateExpert(Policy):
    """:param task: whose plan it follows; told the true state of each observation."""

    name = "late expert"

    def __init__(self, environment: ManiSkillEnvironment) -> None:
        self._plan = expert.PLANS[environment.info.task]
        self._axes = environment._robot.axes
        self.states: dict[int, ExpertState] = {}

    def reset(self) -> None:
        self.states = {}

    def predict(self, observation: PolicyInput) -> Answer:
        state, actions, closed_for = self.states[observation.stamp], [], 0
        for _ in range(LENGTH):
            actions.append(expert.expert_action(state, self._plan, self._axes))
            closed_for = 0 if actions[-1].gripper > 0.5 else closed_for + 1
            state = after(state, actions[-1], closed_for)
        return Answer(tuple(actions))


def after(state: ExpertState, action: EndEffectorAction, closed_for: int) -> ExpertState:
    """What the expert expects: the arm keeps its lag behind the target, and what is held moves along.

    :param closed_for: steps since the fingers began to close; in two they hold what is between them.
    """
    turn = Rotation.from_rotvec(action.rotation).as_matrix()
    moved = {}
    for name in ("base_from_target", "base_from_gripper"):
        pose = getattr(state, name).copy()
        pose[:3, :3], pose[:3, 3] = turn @ pose[:3, :3], pose[:3, 3] + action.translation
        moved[name] = pose
    position = state.object_position + (action.translation if state.grasped else 0.0)
    if not closed_for:
        return dataclasses.replace(state, **moved, object_position=position, grasped=False, gripper=1.0)
    off = moved["base_from_gripper"][:3, 3] - position
    between = bool(np.linalg.norm(off[:2]) < 0.02 and abs(off[2]) < 0.03)
    held = state.grasped or (between and closed_for >= 2)
    opening = state.gripper if held else max(0.3, state.gripper - 0.4)
    return dataclasses.replace(state, **moved, object_position=position, grasped=held, gripper=opening)


def solved(execution: str, task: str, episodes: int) -> int:
    """How many of the first official episodes the late expert solves, in simulated realtime."""
    environment = make_environment(task, render=False)
    try:
        policy = LateExpert(environment)
        return sum(_solves(environment, policy, execution, episode) for episode in range(episodes))
    finally:
        environment.close()


def _solves(environment: ManiSkillEnvironment, policy: LateExpert, execution: str, episode: int) -> bool:
    opening = environment.reset(episode).gripper
    caps = find_embodiment(environment.info.robot).caps
    control = RealtimeControl(policy, execution, PERIOD, 1, latency_s=LATE_S, caps=caps)
    for step in range(environment.info.max_steps):
        stamp = step * PERIOD
        policy.states[stamp] = environment.expert_state()
        action = control.act(PolicyInput.of(stamp, *NOTHING, None, "go"), 0.0)
        result = environment.step(EndEffectorAction.hold(opening) if action is None else action)
        opening = result.observation.gripper
        if result.success:
            return True
    return False
