"""A policy whose actions tell all that it saw, and a simulator whose episodes differ: a package for the live graph."""

from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
from scripted_environment import EPISODES, MAX_STEPS, ScriptedEnvironment

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.sim.environment import Environment, Observation
from stvla_ros.sim.simulators import Simulator
from stvla_ros.sim.task import Task

CHUNK = 4
TASK = "rooms/reach"


class Witness(Policy):
    """Its actions follow from every bit that it was given since it was reset, one more picture included."""

    name = "witness"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._seen = 0

    def predict(self, observation: PolicyInput) -> Answer:
        words = observation.instruction.encode()
        for given in (observation.picture.rgb.tobytes(), observation.picture.depth.tobytes(), words):
            self._seen = crc32(given, self._seen)
        numbers = np.random.default_rng(self._seen).uniform(-0.01, 0.01, (CHUNK, 7))
        return Answer(tuple(EndEffectorAction(row[:3], row[3:6], float(50.0 * row[6] + 0.5)) for row in numbers))


class Rooms(ScriptedEnvironment):
    """Each episode begins elsewhere."""

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        super().reset(episode_id, seed)
        self._position = self._position + [0.012 * episode_id, 0.0, -0.008 * episode_id]
        return self._observe()


class RoomsSimulator(Simulator):
    def tasks(self) -> Mapping[str, Task]:
        return {TASK: Task(TASK, "reach", "panda", 5.0, MAX_STEPS, EPISODES)}

    def make(self, task: Task, image_size: tuple[int, int] | None, render: bool) -> Environment:
        return Rooms(task.simulator_id, render, image_size)


def package() -> dict[str, dict]:
    """A package with the policy ``witness`` and the simulator ``rooms``, as the fixture ``installed`` takes it.

    Its modules have other names than those of the tests: they go when the package goes.
    """
    here = Path(__file__).parent
    world, own = ((here / f"{name}.py").read_text() for name in ("scripted_environment", "witness"))
    own = own.replace("from scripted_environment", "from rooms_world")
    points = {"policies": {"witness": "rooms:Witness"}, "simulators": {"rooms": "rooms:RoomsSimulator"}}
    return {"modules": {"rooms_world": world, "rooms": own}, "entry_points": points}
