"""The ManiSkill backend, in the real simulator."""

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import back_project
from stvla_ros.sim.maniskill.assets import find_assets
from stvla_ros.sim.tasks import make_environment

TASKS = ["stack_cube", "panda_pick_cube"]
_ENVIRONMENTS = {}


def environment(task, **options):
    """Environments take seconds to make; each kind is made once."""
    if task != "panda_pick_cube":
        try:
            find_assets(download=False)
        except InputError as error:
            pytest.skip(str(error))
    key = (task, *sorted(options.items()))
    if key not in _ENVIRONMENTS:
        _ENVIRONMENTS[key] = make_environment(task, **options)
        _ENVIRONMENTS[key].reset(0)
    return _ENVIRONMENTS[key]


@pytest.fixture(scope="module", autouse=True)
def close_environments():
    yield
    for made in _ENVIRONMENTS.values():
        made.close()
    _ENVIRONMENTS.clear()


def vectors(limit):
    return st.tuples(*[st.floats(-limit, limit)] * 3).map(np.array)


@pytest.mark.parametrize("task", TASKS)
@examples(quick=20)
@given(translation=vectors(0.05), rotation=vectors(0.8), gripper=st.floats(0.0, 1.0))
def test_a_step_moves_the_target_by_exactly_the_action(task, translation, rotation, gripper):
    simulator = environment(task, render=False)
    before = simulator.base_from_target
    simulator.step(EndEffectorAction(translation, rotation, gripper))
    after = simulator.base_from_target
    np.testing.assert_allclose(after[:3, 3], before[:3, 3] + translation, atol=1e-6)
    np.testing.assert_allclose(after[:3, :3], Rotation.from_rotvec(rotation).as_matrix() @ before[:3, :3], atol=2e-6)


@pytest.mark.parametrize("task", TASKS)
def test_the_first_target_is_where_the_gripper_is(task):
    simulator = environment(task, render=False)
    observation = simulator.reset(1)
    np.testing.assert_allclose(simulator.base_from_target, observation.base_from_gripper, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_arm_reaches_its_target_in_free_space(task):
    simulator = environment(task, render=False)
    start = simulator.reset(0).base_from_gripper
    rotation = np.array([0.0, 0.1, 0.2])
    simulator.step(EndEffectorAction(np.array([0.02, 0.01, 0.02]), rotation, 1.0))
    for _ in range(5):
        observation = simulator.step(EndEffectorAction.hold(1.0)).observation
    np.testing.assert_allclose(observation.base_from_gripper[:3, 3], start[:3, 3] + [0.02, 0.01, 0.02], atol=0.003)
    np.testing.assert_allclose(
        observation.base_from_gripper[:3, :3], Rotation.from_rotvec(rotation).as_matrix() @ start[:3, :3], atol=0.02
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("wanted", [0.0, 0.5, 1.0])
def test_the_gripper_opens_as_far_as_told(task, wanted):
    simulator = environment(task, render=False)
    simulator.reset(0)
    for _ in range(6):
        observation = simulator.step(EndEffectorAction.hold(wanted)).observation
    assert observation.gripper == pytest.approx(wanted, abs=0.05)


def play(simulator, episode_id, seed=0):
    """Everything an episode of two steps shows, as bytes."""
    random = np.random.default_rng(0)
    observations = [simulator.reset(episode_id, seed)]
    for _ in range(2):
        action = EndEffectorAction(random.normal(0, 0.02, 3), random.normal(0, 0.1, 3), 0.0)
        observations.append(simulator.step(action).observation)
    return b"".join(
        array.tobytes() for o in observations for array in (o.rgb, o.depth, o.joint_positions, o.base_from_gripper)
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_same_episode_is_the_same_bit_for_bit_whatever_came_before(task):
    simulator = environment(task)
    first = play(simulator, 2)
    simulator.reset(5)
    for _ in range(5):  # leave the arm down among the objects
        simulator.step(EndEffectorAction(np.array([0.02, 0.0, -0.03]), np.zeros(3), 0.0))
    assert play(simulator, 2) == first


@pytest.mark.parametrize("task", TASKS)
def test_another_episode_is_another(task):
    simulator = environment(task, render=False)
    positions = []
    for episode_id in (0, 1):
        simulator.reset(episode_id)
        state = simulator.expert_state()
        positions.append(np.concatenate([state.object_position, state.goal_position]))
    assert np.abs(positions[0] - positions[1]).max() > 0.01


def test_the_seed_changes_the_panda_episode():
    simulator = environment("panda_pick_cube", render=False)
    positions = []
    for seed in (0, 1):
        simulator.reset(0, seed)
        positions.append(simulator.expert_state().object_position)
    assert np.abs(positions[0] - positions[1]).max() > 0.001


@pytest.mark.parametrize("episode_id", [-1, 24])
def test_an_episode_that_does_not_exist_is_an_error(episode_id):
    with pytest.raises(InputError, match="episode_id: expected 0 to 23 for panda_pick_cube"):
        environment("panda_pick_cube", render=False).reset(episode_id)


def test_an_observation_has_the_documented_types_and_native_size():
    observation = environment("stack_cube").reset(0)
    assert (observation.rgb.shape, observation.rgb.dtype) == ((480, 640, 3), np.uint8)
    assert (observation.depth.shape, observation.depth.dtype) == ((480, 640), np.uint16)
    assert observation.joint_names[:2] == ("waist", "shoulder")
    assert observation.joint_positions.shape == (len(observation.joint_names),)
    assert observation.gripper == pytest.approx(1.0)
    assert observation.depth.min() > 300 and observation.depth.max() < 1000, "metres instead of millimetres?"


@pytest.mark.parametrize("task", TASKS)
def test_joints_and_links_are_those_of_the_urdf(task):
    simulator = environment(task, render=False)
    observation = simulator.reset(0)
    text = simulator.info.urdf.read_text()
    for name in (*observation.joint_names, *observation.base_from_link):
        assert f'name="{name}"' in text
    np.testing.assert_allclose(observation.base_from_link[simulator.info.base_frame], np.eye(4), atol=1e-6)


@pytest.mark.parametrize("task, half_edge", [("stack_cube", 0.015), ("panda_pick_cube", 0.02)])
@pytest.mark.parametrize("image_size", [None, (320, 240), (256, 256)])
def test_depth_intrinsics_and_camera_pose_put_the_cube_where_it_is(task, half_edge, image_size):
    simulator = environment(task) if image_size is None else environment(task, image_size=image_size)
    observation = simulator.reset(3)
    assert observation.depth.shape == ((480, 640) if image_size is None else image_size[::-1])
    moved = {"stack_cube": "baked_green_cube_3cm", "panda_pick_cube": "cube"}[task]
    body = next(b for b in np.unique(simulator.segmentation).tolist() if simulator.body_name(b) == moved)
    row, column = np.nonzero(simulator.segmentation == body)
    pixels, depth = np.stack([column, row], axis=1), observation.depth[row, column] / 1000
    in_camera = back_project(pixels, depth, observation.intrinsics)
    camera, cube = observation.base_from_camera, np.linalg.inv(simulator.base_from_body(body))
    in_cube = (in_camera @ camera[:3, :3].T + camera[:3, 3]) @ cube[:3, :3].T + cube[:3, 3]
    # Three faces are seen; every point lies on one of them. Depth is in millimetres.
    on_face = np.abs(np.abs(in_cube).max(axis=1) - half_edge)
    assert on_face.max() < 0.0025
    # Half a pixel of error in the principal point would shift all by 0.3 mm and more.
    top = in_cube[np.argmax(np.abs(in_cube), axis=1) == 2]
    assert np.abs(top[:, :2]).max() == pytest.approx(half_edge, abs=0.0015)


def test_without_rendering_there_are_no_pictures_but_the_same_physics():
    with_pictures, without = environment("stack_cube"), environment("stack_cube", render=False)
    seen, blind = with_pictures.reset(4), without.reset(4)
    assert blind.rgb.size == 0 and blind.depth.size == 0
    np.testing.assert_array_equal(blind.joint_positions, seen.joint_positions)
    np.testing.assert_array_equal(blind.intrinsics, seen.intrinsics)
    np.testing.assert_array_equal(blind.base_from_camera, seen.base_from_camera)


def test_environments_side_by_side_keep_their_own_photograph():
    first = environment("stack_cube", image_size=(320, 240))
    alone = first.reset(0).rgb
    other = environment("eggplant_in_basket", image_size=(160, 120))
    assert other.reset(0).rgb.shape == (120, 160, 3)
    np.testing.assert_array_equal(first.reset(0).rgb, alone)


@pytest.mark.parametrize(
    "task, text",
    [
        ("stack_cube", "stack the green block on the yellow block"),
        ("panda_pick_cube", "move the red cube to the green ball"),
    ],
)
def test_the_instruction_is_a_sentence(task, text):
    simulator = environment(task, render=False)
    simulator.reset(0)
    assert simulator.instruction == text


def test_starting_and_closing_twice_is_silent_and_leaves_torch_as_it_was(capfd):
    threads = torch.get_num_threads()
    simulator = make_environment("panda_pick_cube", render=False)
    simulator.reset(0)
    simulator.step(EndEffectorAction.hold(1.0))
    simulator.close()
    simulator.close()
    assert torch.get_num_threads() == threads
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


@pytest.mark.parametrize(
    "task, names", [("stack_cube", ("green block", "yellow block")), ("panda_pick_cube", ("red cube", "green ball"))]
)
def test_what_shows_is_where_the_simulator_says_it_is(task, names):
    simulator = environment(task, image_size=(320, 240))
    observation = simulator.reset(3)
    things = simulator.seen_things()
    assert (things.moved, things.goal) == names and set(things.masks) == {*names, "gripper"}
    pixels = simulator.scene_points() @ observation.intrinsics.T
    for name, (x, y, z) in zip(names, pixels, strict=False):
        rows, columns = np.nonzero(things.masks[name])
        assert columns.min() <= x / z <= columns.max() and rows.min() <= y / z <= rows.max()
    assert environment(task, render=False).seen_things() is None
