"""One episode in the simulator: an actor acts, and every frame is recorded."""

from collections.abc import Callable

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration, action_row, depth_to_millimetres, state_row
from stvla_ros.learning.demonstrations.noise import ActionNoise
from stvla_ros.sim.environment import Environment, Observation

# From the observation, its stamp (ns), the instruction and the expert's clean answer to the action that is executed.
Actor = Callable[[Observation, int, str, EndEffectorAction], EndEffectorAction]


def roll_out(
    environment: Environment,
    observation: Observation,
    actor: Actor,
    noise: ActionNoise,
    max_steps: int,
    linger: int = 0,
    watch: Callable[[Observation], None] | None = None,
) -> Demonstration:
    """Run an episode that was just reset, until its first success or for ``max_steps``. Frames are labelled with the
    expert's answer, whoever acts.

    :param noise: noise on the executed actions.
    :param linger: control steps after the success that are still recorded.
    :param watch: function that is called with every frame, before the environment moves on.
    :raises InputError: when there is no expert for the task.
    """
    period = 1e9 / environment.info.control_hz
    instruction = environment.instruction
    intrinsics = observation.intrinsics
    seen: list[Observation] = []
    labels, executed, points = [], [], []
    success = False
    until = max_steps
    while len(seen) < until:
        label = environment.expert_action()
        if label is None:
            raise InputError(f"task {environment.info.task}: expected one with an expert, there is none")
        if watch is not None:
            watch(observation)
        action = noise(actor(observation, round(len(seen) * period), instruction, label))
        seen.append(observation)
        labels.append(action_row(label))
        executed.append(action_row(action))
        points.append(environment.scene_points())
        result = environment.step(action)
        observation = result.observation
        if result.success and not success:
            success, until = True, min(len(seen) + linger, max_steps)
    return Demonstration(
        rgb=np.stack([each.rgb for each in seen]),
        depth=np.stack([depth_to_millimetres(each.depth) for each in seen]),
        intrinsics=intrinsics,
        stamps=np.round(np.arange(len(seen)) * period).astype(np.int64),
        action=np.stack(labels),
        instruction=instruction,
        fps=environment.info.control_hz,
        success=success,
        executed_action=np.stack(executed),
        state=np.stack([state_row(each) for each in seen]),
        scene_points=None if points[0] is None else np.stack(points).astype(np.float32),
    )
