"""The tasks that need a memory, in the real simulator: that nothing leaks past home."""

import numpy as np
import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.sim.memoryless import START_BOX
from stvla_ros.sim.tasks import make_environment


@pytest.fixture(params=["return_cube", "tap_both"])
def simulator(request):
    made = make_environment(request.param, render=False)
    yield made
    made.close()


def shown(simulator, observation):
    """All that a policy could see, as bytes."""
    cube = simulator.expert_state()
    arrays = (observation.joint_positions, observation.base_from_gripper, cube.object_position, cube.object_axis)
    return b"".join(array.tobytes() for array in arrays)


def until_home(simulator, noise):
    """Let the expert act, disturbed, until the arm is as it began. :returns: the observation then."""
    random = np.random.default_rng(0)
    start = simulator.reset(0)
    for _ in range(simulator.info.max_steps):
        action = simulator.expert_action()
        moved = action.translation + random.normal(0.0, noise, 3)
        observation = simulator.step(EndEffectorAction(moved, action.rotation, action.gripper)).observation
        if np.array_equal(observation.joint_positions, start.joint_positions):
            return observation
    raise AssertionError("never home")


def test_past_home_the_same_actions_lead_to_the_same_whatever_was_before(simulator):
    """Bit for bit. So what a policy without memory does there cannot depend on what was before."""
    first = [shown(simulator, until_home(simulator, 0.0))]
    actions = [simulator.expert_action()]
    for _ in range(12):
        first.append(shown(simulator, simulator.step(actions[-1]).observation))
        actions.append(simulator.expert_action())
    second = [shown(simulator, until_home(simulator, 0.004))]
    second += [shown(simulator, simulator.step(action).observation) for action in actions[:-1]]
    assert second == first


def test_who_does_at_home_what_it_did_at_the_start_taps_one_cube_twice():
    simulator = make_environment("tap_both", render=False)
    simulator.reset(0)
    outing = []
    # Where the tool is, and not where the controller steers to: that is ahead of it.
    while not (simulator.course.tapped and simulator.course.at_home(simulator.expert_state().base_from_gripper[:3, 3])):
        outing.append(simulator.expert_action())
        simulator.step(outing[-1])
    first, outcomes = list(simulator.course.tapped), [simulator.step(action).success for action in outing]
    assert simulator.course.tapped == first and simulator.course.lost and not any(outcomes)
    simulator.close()


def test_the_cube_starts_anywhere_in_the_box():
    simulator = make_environment("return_cube", render=False)
    starts = []
    for episode in range(24):
        simulator.reset(episode)
        starts.append(simulator.expert_state().object_position[:2])
    simulator.close()
    assert (np.ptp(starts, axis=0) <= START_BOX).all() and (np.ptp(starts, axis=0) > 0.7 * np.array(START_BOX)).all()


def test_no_seed_moves_the_arm_before_the_policy_begins(simulator):
    """Where it then is would tell the start from home."""
    assert simulator.info.fixed_start


def test_the_hand_hides_the_cube_nowhere_at_the_start(monkeypatch):
    """Along the box's rear edge, which is nearest to the hand: at most a finger's tip is before it."""
    from stvla_ros.sim.maniskill import memory_environments as scenes

    simulator = make_environment("return_cube", image_size=(160, 120))
    put, middle, half = scenes.MemoryEnv._put_cube, scenes._BOX_MIDDLE, np.array(START_BOX) / 2
    red = {}
    for x, y in [(1.0, 0.0), *((-1.0, y) for y in (-1.0, -0.25, 0.0, 0.25, 1.0))]:
        place = middle + half * [x, y]
        monkeypatch.setattr(scenes.MemoryEnv, "_put_cube", lambda env, cube, _, yaw, at=place: put(env, cube, at, yaw))
        picture = simulator.reset(0).rgb.astype(int)
        red[x, y] = int(((picture[..., 0] > 100) & (picture[..., 1:] < 40).all(axis=-1)).sum())
    simulator.close()
    in_the_open = red.pop((1.0, 0.0))
    assert min(red.values()) > 0.4 * in_the_open, (red, in_the_open)
