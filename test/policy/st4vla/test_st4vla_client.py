"""The published SimplerEnv client's numbers (``data/st4vla_reference.npz``), for both robots, against ours.

Recorded with the client of InternVLA-M1 (949223b) and CogACT's ensemble, fed with 60 chunks in a row.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from st4vla_answers import GOLDEN, same
from tiny_st4vla import picture, statistics

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.registry import make_policy
from stvla_ros.policy.st4vla.normaliser import unnormalize
from stvla_ros.policy.st4vla.published_client import CHUNKS, AdaptiveEnsemble, GoogleGripper, PublishedClient

# robot: what the published client calls it, its statistics
SETUPS = {"widowx": ("widowx_bridge", "oxe_bridge"), "google_robot": ("google_robot", "oxe_rt1")}


def chunks(robot):
    """(60, T, 7) in metres, radians and opening."""
    found = ActionStatistics.from_config(statistics()[SETUPS[robot][1]])
    return unnormalize(GOLDEN["client/normalized"], found)


@pytest.mark.parametrize("robot", CHUNKS)
def test_ensembled_actions_are_the_references(robot):
    ensemble = AdaptiveEnsemble(CHUNKS[robot])
    means = np.array([ensemble.add(chunk) for chunk in chunks(robot)])
    for dimension in range(7):
        same(means[:, dimension], GOLDEN[f"client/{SETUPS[robot][0]}/raw"][:, dimension])


@pytest.mark.parametrize("robot", CHUNKS)
def test_executed_motions_are_the_references(robot):
    client, expected = PublishedClient(robot), GOLDEN[f"client/{SETUPS[robot][0]}/action"]
    done = [client.step(chunk) for chunk in chunks(robot)]
    same([action.translation for action in done], expected[:, :3])
    same([action.rotation for action in done], expected[:, 3:6])


def test_the_widowx_gripper_is_the_references():
    client = PublishedClient("widowx")
    commands = [2.0 * client.step(chunk).gripper - 1.0 for chunk in chunks("widowx")]
    assert commands == GOLDEN["client/widowx_bridge/action"][:, 6].tolist()
    assert {-1.0, 1.0} == set(commands)


def test_the_google_gripper_is_the_references():
    ensemble, gripper = AdaptiveEnsemble(CHUNKS["google_robot"]), GoogleGripper()
    closing = [gripper.step(ensemble.add(chunk)[6]) for chunk in chunks("google_robot")]
    expected = GOLDEN["client/google_robot/action"][:, 6]
    same(closing, expected)
    assert ((np.abs(expected) > 0.5) & (np.abs(expected) < 0.9)).any(), "a mean of two chunks is held as it is"


def test_the_google_robots_opening_follows_from_the_commands_that_came():
    client, opening = PublishedClient("google_robot"), 1.0
    for chunk, closing in zip(chunks("google_robot"), GOLDEN["client/google_robot/action"][:, 6], strict=True):
        opening = float(np.clip(opening - closing, 0.0, 1.0))
        assert client.step(chunk).gripper == pytest.approx(opening, abs=1e-6)


@pytest.mark.parametrize("robot", CHUNKS)
def test_after_a_reset_nothing_is_left_of_what_was_before(robot):
    client = PublishedClient(robot)
    first = [client.step(chunk) for chunk in chunks(robot)[:20]]
    client.reset()
    again = [client.step(chunk) for chunk in chunks(robot)[:20]]
    assert [action.gripper for action in first] == [action.gripper for action in again]
    np.testing.assert_array_equal([a.translation for a in first], [a.translation for a in again])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_change_of_the_google_gripper_is_told_for_ten_steps(openings):
    gripper = GoogleGripper()
    told = [gripper.step(opening) for opening in openings]
    step = 0
    while step < len(told):
        if abs(told[step]) > 0.5:
            assert len(set(told[step : step + 10])) == 1
            step += 10
        else:
            step += 1


def test_chunks_shorter_than_the_window_have_a_say_as_long_as_they_reach():
    ensemble = AdaptiveEnsemble(7)
    for number in range(9):
        mean = ensemble.add(np.full((2, 7), float(number)))
    np.testing.assert_allclose(mean, 7.5)  # the two chunks that still speak of this step are alike in direction


def test_a_policy_answers_as_the_client_when_asked_to(converted):
    given_parameters = {"checkpoint": str(converted), "dtype": "float32", "unnorm_key": "oxe_rt1", "threads": 1}
    plain = make_policy("stvla", **given_parameters)
    as_client = make_policy("stvla", client="google_robot", **given_parameters)
    for policy in (plain, as_client):
        policy.load()
    ensemble = AdaptiveEnsemble(2)
    for number in (1, 2, 3):
        seen = PolicyInput.of(number, picture(number), instruction="put the spoon on the towel")
        chunk = plain._predictor.predict([seen.picture.rgb], seen.instruction, "oxe_rt1").actions
        (action,) = as_client.predict(seen).actions
        np.testing.assert_allclose(action.translation, ensemble.add(chunk)[:3], rtol=1e-9)


def test_a_client_for_another_robot_is_refused(converted):
    with pytest.raises(InputError, match="client: expected one of widowx, google_robot, or none, got 'franka'"):
        make_policy("stvla", checkpoint=str(converted), client="franka", unnorm_key="oxe_rt1").load()
