"""The real SimplerEnv in its worker process.

Needs STVLA_SIMPLER_PYTHON and its assets (docs/how-to/set-up-simpler-env.md).
"""

import os

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim.expert import PLANS
from stvla_ros.sim.simpler_env.tasks import task_named
from stvla_ros.sim.tasks import make_environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("STVLA_SIMPLER_PYTHON" not in os.environ, reason="STVLA_SIMPLER_PYTHON is not set"),
]
WIDOWX, GOOGLE = "simpler/widowx_stack_cube", "simpler/google_robot_pick_coke_can"


@pytest.fixture(scope="module", params=[WIDOWX, GOOGLE])
def environment(request):
    yield from _made(request.param)


@pytest.fixture(scope="module")
def widowx():
    yield from _made(WIDOWX, render=False)


@pytest.fixture(scope="module")
def google():
    yield from _made(GOOGLE, render=False)


def _made(task, **options):
    environment = make_environment(task, **options)
    yield environment
    environment.close()


def shake(seed: int, steps: int, translation: float = 0.02, rotation: float = 0.12) -> list[EndEffectorAction]:
    random = np.random.default_rng(seed)
    return [
        EndEffectorAction(random.uniform(-translation, translation, 3), random.uniform(-rotation, rotation, 3), 1.0)
        for _ in range(steps)
    ]


def hold(environment, gripper: float, steps: int):
    for _ in range(steps):
        result = environment.step(EndEffectorAction.hold(gripper))
    return result.observation


def rotation_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(other[:3, :3] @ one[:3, :3].T).as_rotvec()


def test_the_environment_agrees_with_the_static_table(environment) -> None:
    task = task_named(environment.info.task)
    for name in ("robot", "control_hz", "max_steps", "num_episodes"):
        assert getattr(environment.info, name) == getattr(task, name), name
    assert environment.info.urdf.is_file()


def test_an_episode_repeats_bit_for_bit_whatever_happened_before(environment) -> None:
    def run():
        first = environment.reset(2, seed=5)
        return [first] + [environment.step(action).observation for action in shake(0, 3)]

    before = run()
    environment.reset(1)
    environment.step(EndEffectorAction.hold(0.0))
    for one, other in zip(before, run(), strict=True):
        np.testing.assert_array_equal(one.rgb, other.rgb)
        np.testing.assert_array_equal(one.depth, other.depth)
        np.testing.assert_array_equal(one.joint_positions, other.joint_positions)


def test_episodes_differ(environment) -> None:
    assert np.abs(environment.reset(0).rgb.astype(int) - environment.reset(3).rgb).max() > 50


def test_the_table_that_the_camera_sees_is_level_in_the_base_frame(environment) -> None:
    observation = environment.reset(0)
    height, width = observation.depth.shape
    # The lower middle of both pictures shows the table alone.
    v, u = np.mgrid[int(0.62 * height) : int(0.7 * height), int(0.4 * width) : int(0.6 * width)]
    depth = observation.depth[v, u].astype(np.float64)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(observation.intrinsics).T
    points = (rays * depth[..., None]) @ observation.base_from_camera[:3, :3].T + observation.base_from_camera[:3, 3]
    assert np.ptp(points[..., 2]) < 5e-4
    assert np.ptp(points[..., :2]) > 0.03


# Links whose own origin lies just under their surface as the camera sees it.
SEEN_LINKS = {
    "widowx": ("gripper_bar_link", "left_finger_link", "right_finger_link"),
    "google_robot": ("link_finger_nail_left", "link_finger_nail_right"),
}


def test_the_links_are_where_the_depth_picture_shows_them(environment) -> None:
    observation = environment.reset(0)
    for name in SEEN_LINKS[environment.info.robot]:
        link = np.linalg.inv(observation.base_from_camera) @ observation.base_from_link[name][:, 3]
        u, v = (observation.intrinsics @ link[:3])[:2] / link[2]
        assert abs(link[2] - observation.depth[round(v), round(u)]) < 0.025, name


def test_poses_are_rigid_and_the_base_is_the_identity(environment) -> None:
    observation = environment.reset(0)
    poses = dict(observation.base_from_link, camera=observation.base_from_camera, tool=observation.base_from_gripper)
    for pose in poses.values():
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(poses[environment.info.base_frame], np.eye(4), atol=1e-9)


def test_another_image_size_shows_the_same_scene() -> None:
    for small in _made(WIDOWX, image_size=(320, 240)):
        half = small.reset(0)
    for large in _made(WIDOWX):
        full = large.reset(0)
    assert half.rgb.shape == (240, 320, 3) and half.depth.shape == (240, 320)
    np.testing.assert_allclose(half.intrinsics[:2, 2] + 0.5, (full.intrinsics[:2, 2] + 0.5) / 2, atol=1e-4)
    averaged = full.rgb.reshape(240, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(half.rgb - averaged).mean() < 4.0


def test_the_widowx_tool_ends_where_the_actions_add_up_to(widowx) -> None:
    pose = widowx.reset(0).base_from_gripper.copy()
    for action in shake(1, 10):
        widowx.step(action)
        pose[:3, 3] += action.translation
        pose[:3, :3] = Rotation.from_rotvec(action.rotation).as_matrix() @ pose[:3, :3]
    reached = hold(widowx, 1.0, 15).base_from_gripper
    assert np.linalg.norm(reached[:3, 3] - pose[:3, 3]) < 2e-4
    assert np.linalg.norm(rotation_between(pose, reached)) < 2e-3


def test_a_rotation_leaves_the_tool_point_in_place(widowx) -> None:
    before = widowx.reset(1).base_from_gripper
    widowx.step(EndEffectorAction(np.zeros(3), np.array([0.0, 0.0, 0.15]), 1.0))
    after = hold(widowx, 1.0, 8).base_from_gripper
    assert np.linalg.norm(after[:3, 3] - before[:3, 3]) < 2e-4
    np.testing.assert_allclose(rotation_between(before, after), [0.0, 0.0, 0.15], atol=3e-3)


def test_the_google_arm_goes_on_from_where_it_is(google) -> None:
    before = google.reset(1).base_from_gripper
    up = EndEffectorAction(np.array([0.0, 0.0, 0.02]), np.zeros(3), 1.0)
    for _ in range(6):
        after = google.step(up).observation.base_from_gripper
    moved = after[:3, 3] - before[:3, 3]
    # Upstream starts each step from the measured pose: it lags behind the sum of 0.12 m and keeps the direction.
    assert 0.03 < moved[2] < 0.12
    assert np.linalg.norm(moved[:2]) < 0.2 * moved[2]


def test_a_google_rotation_turns_about_the_base_axis_at_the_tool_point(google) -> None:
    before = google.reset(1).base_from_gripper
    turn = EndEffectorAction(np.zeros(3), np.array([0.0, 0.0, 0.1]), 1.0)
    for _ in range(3):
        after = google.step(turn).observation.base_from_gripper
    rotation = rotation_between(before, after)
    assert 0.05 < rotation[2] < 0.3
    assert np.linalg.norm(rotation[:2]) < 0.2 * rotation[2]
    assert np.linalg.norm(after[:3, 3] - before[:3, 3]) < 5e-3


@pytest.mark.parametrize("opening", [1.0, 0.8, 0.6])
def test_both_grippers_reach_an_absolute_opening(widowx, google, opening) -> None:
    for robot in (widowx, google):
        robot.reset(0)
        hold(robot, 0.3, 2)
        assert hold(robot, opening, 8).gripper == pytest.approx(opening, abs=0.03)


def test_a_gripper_on_its_way_can_be_stopped(google) -> None:
    google.reset(0)
    hold(google, 0.0, 1)
    assert hold(google, 0.85, 6).gripper == pytest.approx(0.85, abs=0.03)


def test_the_expert_stacks_the_cube(widowx) -> None:
    widowx.reset(0)
    assert widowx.instruction == "stack the green block on the yellow block"
    assert any(widowx.step(widowx.expert_action()).success for _ in range(widowx.info.max_steps))


@pytest.mark.parametrize("episode", [0, 29, 62], ids=["lying across", "standing", "lying along"])
def test_the_expert_picks_the_can_in_each_pose(google, episode) -> None:
    google.reset(episode)
    assert google.instruction == "pick coke can"
    assert google.goal_conditions() == {}
    assert any(google.step(google.expert_action()).success for _ in range(google.info.max_steps))
    assert google.goal_conditions() == {"grasped": True, "lifted": True}


def test_the_expert_begins_again_after_the_fingers_closed_upon_nothing(google) -> None:
    google.reset(2)
    closed = hold(google, 0.0, 6).gripper
    assert closed < PLANS["pick_coke_can"].empty
    assert any(google.step(google.expert_action()).success for _ in range(google.info.max_steps))


def test_random_cans_repeat_by_their_seed_and_leave_the_official_ones_alone(google) -> None:
    official = google.reset(5).base_from_gripper, google.scene_points()
    first = google.reset_random(3) and google.scene_points()
    google.reset_random(4)
    assert np.linalg.norm(google.scene_points()[0] - first[0]) > 0.01
    google.reset_random(3)
    np.testing.assert_array_equal(google.scene_points(), first)
    np.testing.assert_array_equal(google.reset(5).base_from_gripper, official[0])
    np.testing.assert_array_equal(google.scene_points(), official[1])


def test_half_a_table_and_widowx_placements_are_refused(google, widowx) -> None:
    with pytest.raises(InputError, match="^task simpler/google_robot_pick_coke_can: its table is not divided"):
        google.reset_random(1, "left")
    with pytest.raises(InputError, match="^task simpler/widowx_stack_cube: it has no random placements"):
        widowx.reset_random(1)


def test_the_first_scene_point_is_where_the_picture_shows_the_can() -> None:
    for google in _made("simpler/google_robot_pick_standing_coke_can", image_size=(320, 256)):
        seen = google.reset_random(1)
        can, lifted, tool = google.scene_points()
    u, v, _ = seen.intrinsics @ can / can[2]
    red, green, blue = seen.rgb[round(v), round(u)].astype(int)
    assert red > green + 40 and red > blue + 40
    upwards = -seen.base_from_camera[2, :3]
    assert (lifted - can) @ -upwards == pytest.approx(0.1, abs=0.01)
    in_camera = (seen.base_from_gripper[:3, 3] - seen.base_from_camera[:3, 3]) @ seen.base_from_camera[:3, :3]
    np.testing.assert_allclose(tool, in_camera, atol=1e-6)


def test_without_rendering_the_pictures_are_empty_and_the_camera_is_known(widowx, google) -> None:
    for robot in (widowx, google):
        observation = robot.reset(0)
        assert observation.rgb.shape == (0, 0, 3) and observation.depth.shape == (0, 0)
        assert np.isfinite(observation.base_from_camera).all() and observation.intrinsics[0, 0] > 100


def test_missing_assets_are_one_line_that_names_the_file_and_the_variable(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MS2_REAL2SIM_ASSET_DIR", str(tmp_path))
    message = "^task simpler/widowx_stack_cube: asset .* is missing; MS2_REAL2SIM_ASSET_DIR"
    with pytest.raises(InputError, match=message) as caught:
        make_environment(WIDOWX)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
