"""The scripted expert by itself: a gripper without mass that does what it is told."""

from dataclasses import replace

import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.sim.expert import MAX_ROTATION, PLANS, ExpertState, GripperAxes, expert_action

WIDOWX = GripperAxes(approach=np.array([1.0, 0.0, 0.0]), opening=np.array([0.0, 1.0, 0.0]))
PANDA = GripperAxes(approach=np.array([0.0, 0.0, 1.0]), opening=np.array([0.0, 1.0, 0.0]))
GOOGLE = PANDA  # of the tool point's axes, the same two
PLAN, CAN = PLANS["carrot_on_plate"], PLANS["pick_coke_can"]


def poses(low, high):
    """(4, 4) poses in a box of the base frame with any rotation."""
    position = st.tuples(*[st.floats(a, b) for a, b in zip(low, high, strict=True)])
    turn = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
    return st.builds(lambda p, r: pose(p, Rotation.from_euler("xyz", r).as_matrix()), position, turn)


def pose(position, rotation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return matrix


headings = st.floats(-np.pi, np.pi).map(lambda angle: np.array([np.cos(angle), np.sin(angle), 0.0]))
spots = st.tuples(st.floats(0.15, 0.4), st.floats(-0.2, 0.2), st.just(0.02)).map(np.array)
grippers = poses((0.1, -0.3, 0.03), (0.5, 0.3, 0.4))
states = st.builds(ExpertState, grippers, grippers, st.floats(0, 1), st.booleans(), spots, headings, spots)


@pytest.mark.parametrize("name", PLANS)
@given(state=states)
def test_no_state_gets_a_larger_step_than_allowed(name, state):
    action = expert_action(state, PLANS[name], WIDOWX)
    assert np.linalg.norm(action.translation) <= PLANS[name].steering.translation + 1e-12
    assert np.linalg.norm(action.rotation) <= PLANS[name].steering.rotation + 1e-12


@given(state=states)
def test_the_sign_of_the_long_axis_has_no_meaning(state):
    # Exactly between two equal turns either may be taken.
    across = np.cross([0.0, 0.0, 1.0], state.object_axis)
    preferred = [np.cos(PLAN.heading), np.sin(PLAN.heading), 0.0]
    assume(abs(across @ preferred) > 1e-3 and abs(state.object_axis @ state.object_position) > 1e-6)
    one = expert_action(state, PLAN, WIDOWX)
    other = expert_action(replace(state, object_axis=-state.object_axis), PLAN, WIDOWX)
    np.testing.assert_allclose(other.translation, one.translation, atol=1e-9)
    np.testing.assert_allclose(other.rotation, one.rotation, atol=1e-6)


@pytest.mark.parametrize("axes", [WIDOWX, PANDA], ids=["widowx", "panda"])
@examples(quick=40)
@given(gripper=grippers, obj=spots, axis=headings)
def test_from_anywhere_it_ends_over_the_object_pointing_down_across_it_and_closes(axes, gripper, obj, axis):
    for _ in range(150):
        state = ExpertState(gripper, gripper, 1.0, False, obj, axis, obj + [0.0, 0.3, 0.0])
        action = expert_action(state, PLAN, axes)
        if action.gripper == 0.0:
            break
        turned = Rotation.from_rotvec(action.rotation).as_matrix() @ gripper[:3, :3]
        gripper = pose(gripper[:3, 3] + action.translation, turned)
    assert action.gripper == 0.0
    np.testing.assert_allclose(gripper[:3, 3], obj + [0.0, 0.0, PLAN.grasp_height], atol=0.015)
    assert gripper[:3, :3] @ axes.approach @ [0.0, 0.0, -1.0] > np.cos(0.21)
    assert abs(gripper[:3, :3] @ axes.opening @ axis) < np.sin(0.21)


def reached(gripper, action, share):
    """Where a controller takes the gripper that reaches a share of each command and forgets the rest."""
    turn = Rotation.from_rotvec(share * action.rotation).as_matrix()
    return pose(gripper[:3, 3] + share * action.translation, turn @ gripper[:3, :3])


@examples(quick=40)
@given(gripper=grippers, obj=spots, axis=headings)
def test_the_can_is_reached_in_time_by_an_arm_that_reaches_three_tenths_of_each_command(gripper, obj, axis):
    for _ in range(50):
        action = expert_action(ExpertState(gripper, gripper, 1.0, False, obj, axis, obj), CAN, GOOGLE)
        if action.gripper == 0.0:
            break
        gripper = reached(gripper, action, 0.31)
    assert action.gripper == 0.0


@examples(quick=40)
@given(gripper=grippers, obj=spots, axis=headings)
def test_a_plans_lean_points_the_gripper_so_far_away_from_the_base_and_leaves_it_across(gripper, obj, axis):
    for _ in range(150):
        action = expert_action(ExpertState(gripper, gripper, 1.0, False, obj, axis, obj), CAN, GOOGLE)
        gripper = reached(gripper, action, 0.31)
    approach = gripper[:3, :3] @ GOOGLE.approach
    outwards = obj[:2] / np.linalg.norm(obj[:2])
    np.testing.assert_allclose(approach, [*(np.sin(CAN.lean) * outwards), -np.cos(CAN.lean)], atol=0.01)
    upright = Rotation.from_rotvec(-CAN.lean * np.array([outwards[1], -outwards[0], 0.0])).as_matrix()
    assert abs(upright @ gripper[:3, :3] @ GOOGLE.opening @ axis) < 0.01


@given(obj=spots, heading=st.floats(-np.pi, np.pi), tip=st.floats(0.0, 0.4), towards=headings)
def test_an_object_on_its_end_is_grasped_with_the_heading_at_hand(obj, heading, tip, towards):
    axis = np.sin(tip) * towards + [0.0, 0.0, np.cos(tip)]
    gripper = above(obj, 0.1, 0.0, towards, heading)
    action = expert_action(ExpertState(gripper, gripper, 1.0, False, obj, axis, obj), PLAN, WIDOWX)
    np.testing.assert_allclose(action.rotation, 0.0, atol=1e-6)


@pytest.mark.parametrize(("opening", "opens"), [(CAN.empty - 0.01, True), (CAN.empty + 0.01, False)])
def test_what_the_fingers_reach_without_the_object_counts_as_a_miss(opening, opens):
    """At the grasp: closing goes on, or the approach begins again."""
    gripper = np.eye(4)
    obj, axis = np.array([0.6, 0.0, 0.1]), np.array([0.0, 1.0, 0.0])
    for _ in range(60):
        gripper = reached(
            gripper, expert_action(ExpertState(gripper, gripper, 1.0, False, obj, axis, obj), CAN, GOOGLE), 0.31
        )
    action = expert_action(ExpertState(gripper, gripper, opening, False, obj, axis, obj), CAN, GOOGLE)
    assert action.gripper == (1.0 if opens else 0.0)
    assert bool(action.translation[2] > 0.05) is opens


@given(gripper=grippers, obj=spots, axis=headings)
def test_low_beside_the_object_it_rises_before_it_goes_there(gripper, obj, axis):
    gripper = pose([*gripper[:2, 3], obj[2]], gripper[:3, :3])
    assume(np.linalg.norm(gripper[:2, 3] - obj[:2]) > 0.06)
    state = ExpertState(gripper, gripper, 1.0, False, obj, axis, obj + [0.0, 0.3, 0.0])
    translation = expert_action(state, PLAN, WIDOWX).translation
    assert translation[2] > 0.0
    np.testing.assert_allclose(translation[:2], 0.0, atol=1e-9)


def above(obj, height, sideways, axis, turn):
    """The gripper above the object, so far sideways along its long axis and turned so far out of the grasp."""
    across = np.arctan2(axis[0], -axis[1])
    across += np.pi * np.round((PLAN.heading - across) / np.pi)
    down = Rotation.from_euler("z", across + turn) * Rotation.from_matrix([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    return pose(obj + [0, 0, height] + sideways * axis, down.as_matrix())


small = st.floats(0.0, 1.0)


@examples(quick=100)
@given(obj=spots, axis=headings, height=st.floats(0.03, 0.15), sideways=small, turn=small)
def test_a_little_farther_off_changes_the_answer_a_little(obj, axis, height, sideways, turn):
    def answer(sideways, turn):
        gripper = above(obj, height, 0.1 * sideways, axis, 1.2 * turn)
        return expert_action(ExpertState(gripper, gripper, 1.0, False, obj, axis, obj), PLAN, WIDOWX).translation

    here = answer(sideways, turn)
    np.testing.assert_allclose(answer(sideways + 0.005, turn), here, atol=0.004)  # 0.5 mm
    np.testing.assert_allclose(answer(sideways, turn + 0.005), here, atol=0.001)  # a third of a degree


@given(obj=spots, axis=headings, turn=st.floats(-3.0, 3.0))
def test_the_heading_of_the_grasp_does_not_depend_on_how_the_gripper_is_turned(obj, axis, turn):
    assume(abs(axis @ [-np.sin(PLAN.heading), np.cos(PLAN.heading), 0.0]) < 0.999)
    gripper = above(obj, 0.1, 0.0, axis, turn)
    state = ExpertState(gripper, gripper, 1.0, False, obj, axis, obj)
    about_vertical = expert_action(state, PLAN, WIDOWX).rotation[2]
    np.testing.assert_allclose(about_vertical, -np.clip(0.4 * turn, -MAX_ROTATION, MAX_ROTATION), atol=1e-6)


@given(gripper=grippers, obj=spots, axis=headings)
def test_closed_upon_nothing_it_opens_and_rises(gripper, obj, axis):
    state = ExpertState(gripper, gripper, 0.0, False, obj, axis, obj + [0.0, 0.3, 0.0])
    action = expert_action(state, PLAN, WIDOWX)
    assert action.gripper == 1.0 and action.translation[2] > 0.0


@given(sideways=st.floats(-0.2, 0.2), height=st.floats(0.0, 0.2))
def test_it_lets_go_only_low_over_the_goal(sideways, height):
    goal = np.array([0.3, 0.0, 0.01])
    held = goal + [0.0, sideways, height]
    gripper = pose(held, np.eye(3))
    state = ExpertState(gripper, gripper, 0.4, True, held, np.array([1.0, 0.0, 0.0]), goal)
    low_over_it = abs(sideways) < PLAN.placed_radius and held[2] - goal[2] <= PLAN.release
    assert expert_action(state, PLAN, WIDOWX).gripper == (1.0 if low_over_it else 0.0)


def test_it_never_lets_go_where_the_object_shall_be_held():
    goal = np.array([0.5, 0.0, 0.2])
    gripper = pose(goal, np.eye(3))
    state = ExpertState(gripper, gripper, 0.4, True, goal, np.array([1.0, 0.0, 0.0]), goal)
    action = expert_action(state, PLANS["panda_pick_cube"], PANDA)
    assert action.gripper == 0.0
    np.testing.assert_allclose(action.translation, 0.0, atol=1e-12)


def test_a_brought_object_is_left_alone():
    goal = np.array([0.3, 0.0, 0.01])
    obj = goal + [0.0, 0.0, 0.02]
    gripper = pose(obj, np.eye(3))
    state = ExpertState(gripper, gripper, 1.0, False, obj, np.array([1.0, 0.0, 0.0]), goal)
    action = expert_action(state, PLAN, WIDOWX)
    assert action.gripper == 1.0 and action.translation[2] > 0.0
