"""The scripted expert in the real simulator."""

import numpy as np
import pytest

from bench.expert_success import run_episode
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.sim.maniskill.assets import ROBOTS_WITH_ASSETS
from stvla_ros.sim.maniskill.tasks import MANISKILL_TASKS
from stvla_ros.sim.tasks import make_environment


@pytest.fixture(params=MANISKILL_TASKS)
def simulator(request):
    if MANISKILL_TASKS[request.param].robot in ROBOTS_WITH_ASSETS:
        request.getfixturevalue("scenes")
    made = make_environment(request.param, render=False)
    yield made
    made.close()


def test_it_solves_an_episode_and_another_with_late_answers(simulator):
    assert run_episode(simulator, 0)[0]
    assert run_episode(simulator, 1, delay=1)[0]


def test_it_begins_again_after_a_miss(simulator):
    simulator.reset(2)
    for _ in range(4):  # close upon nothing, away from the object
        simulator.step(EndEffectorAction(np.array([0.0, 0.0, 0.01]), np.zeros(3), 0.0))
    assert any(simulator.step(simulator.expert_action()).success for _ in range(simulator.info.max_steps))


@pytest.mark.slow
@pytest.mark.parametrize("delay, at_least", [(0, 23), (1, 23)])
def test_it_solves_nearly_all_episodes(simulator, delay, at_least):
    assert sum(run_episode(simulator, episode_id, delay=delay)[0] for episode_id in range(24)) >= at_least
