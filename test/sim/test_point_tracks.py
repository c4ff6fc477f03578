"""Exact point tracks, checked against what the pictures themselves show."""

import cv2
import numpy as np
import pytest

from bench.point_tracks import PointTrackRecorder
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.geometry import back_project, project
from stvla_ros.sim.tasks import make_environment

_GRID = np.stack(np.meshgrid(np.arange(4, 640, 8), np.arange(4, 480, 8)), axis=-1).reshape(-1, 2)


@pytest.fixture(scope="module")
def episode(scenes):
    """Eight expert steps of stack_cube: observations, segmentations, and the tracks of a grid chosen on the first."""
    simulator = make_environment("stack_cube")
    observation = simulator.reset(0)
    recorder = PointTrackRecorder(simulator)
    recorder.start(_GRID, observation)
    frames = [(observation, simulator.segmentation, *recorder.observe(observation))]
    for _ in range(8):
        observation = simulator.step(simulator.expert_action()).observation
        frames.append((observation, simulator.segmentation, *recorder.observe(observation)))
    yield simulator, recorder, frames
    simulator.close()


def on(recorder, *names):
    return np.array([name in names for name in recorder.body_names])


def test_on_the_first_picture_every_point_is_where_it_was_chosen_and_seen(episode):
    _, _, frames = episode
    _, _, xy, visible = frames[0]
    assert (xy.dtype, visible.dtype) == (np.float32, bool)
    np.testing.assert_allclose(xy, _GRID, atol=1e-3)
    assert visible.all()


def test_points_on_the_photograph_and_on_resting_objects_stay(episode):
    _, recorder, frames = episode
    still = on(recorder, None, "baked_yellow_cube_3cm")
    assert still.sum() > 1000
    for _, _, xy, _ in frames:
        assert np.abs(xy[still] - _GRID[still]).max() < 0.5


def test_points_on_the_gripper_move_with_the_link_pose_that_goes_out_as_tf(episode):
    _, recorder, frames = episode
    own = on(recorder, "gripper_link")
    assert own.sum() > 20
    first, last = frames[0][0], frames[-1][0]
    column, row = _GRID[own].T
    in_camera = back_project(_GRID[own], first.depth[row, column] / 1000, first.intrinsics)
    # Camera then, base, link, and back with the link's pose of now.
    link_motion = last.base_from_link["gripper_link"] @ np.linalg.inv(first.base_from_link["gripper_link"])
    motion = np.linalg.inv(last.base_from_camera) @ link_motion @ first.base_from_camera
    expected = project(in_camera @ motion[:3, :3].T + motion[:3, 3], last.intrinsics)
    assert np.linalg.norm(expected - _GRID[own], axis=1).min() > 20, "it did not move"
    # Half a millimetre of depth lies between the two.
    assert np.abs(frames[-1][2][own] - expected).max() < 0.5


def test_tracks_agree_with_optical_flow_between_neighbouring_pictures(episode):
    """Lucas-Kanade knows nothing of poses: where the gripper has texture, both must say the same."""
    simulator, *_ = episode
    # Small motion, for optical flow to be a judge.
    simulator.reset(0)
    observation = simulator.step(EndEffectorAction.hold(1.0)).observation
    robot = [b for b in np.unique(simulator.segmentation).tolist() if (simulator.body_name(b) or "").endswith("_link")]
    mask = cv2.erode(np.isin(simulator.segmentation, robot).astype(np.uint8), np.ones((5, 5), np.uint8))
    before = cv2.cvtColor(observation.rgb, cv2.COLOR_RGB2GRAY)
    corners = cv2.goodFeaturesToTrack(before, 60, 0.01, 5, mask=mask)[:, 0]
    recorder = PointTrackRecorder(simulator)
    recorder.start(corners, observation)
    observation = simulator.step(EndEffectorAction(np.array([0.01, 0.01, -0.005]), np.zeros(3), 1.0)).observation
    xy, visible = recorder.observe(observation)
    after = cv2.cvtColor(observation.rgb, cv2.COLOR_RGB2GRAY)
    flow, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners[:, None].astype(np.float32), None)
    judged = visible & (found[:, 0] == 1)
    errors = np.linalg.norm(flow[judged, 0] - xy[judged], axis=1)
    assert judged.sum() > 15
    assert np.linalg.norm(xy[judged] - corners[judged], axis=1).mean() > 4
    assert np.median(errors) < 0.5


def test_a_point_is_seen_exactly_where_the_picture_shows_its_body(episode):
    """The yellow cube rests: its points stay in their pixels, so one is hidden when its pixel shows something else."""
    simulator, recorder, frames = episode
    own = on(recorder, "baked_yellow_cube_3cm")
    for _, segmentation, _, visible in frames:
        column, row = _GRID[own].T
        shown = [simulator.body_name(body) == "baked_yellow_cube_3cm" for body in segmentation[row, column].tolist()]
        np.testing.assert_array_equal(visible[own], shown)


def test_the_photograph_is_hidden_by_the_arm_and_only_by_it(episode):
    simulator, recorder, frames = episode
    own = on(recorder, None)
    hidden = 0
    for _, segmentation, _, visible in frames:
        column, row = _GRID[own].T
        shown = [simulator.body_name(body) is None for body in segmentation[row, column].tolist()]
        np.testing.assert_array_equal(visible[own], shown)
        hidden += len(shown) - sum(shown)
    assert hidden > 50


def test_a_point_that_turns_away_or_leaves_the_picture_is_not_seen(episode):
    _, recorder, frames = episode
    moving = on(recorder, "gripper_link", "left_finger_link", "right_finger_link", "baked_green_cube_3cm")
    gone = 0
    for observation, _, xy, visible in frames:
        height, width = observation.depth.shape
        outside = (xy < 0).any(axis=1) | (xy[:, 0] > width - 1) | (xy[:, 1] > height - 1)
        assert not visible[outside].any()
        gone += (moving & ~visible).sum()
    assert gone > 0


@pytest.mark.parametrize("points", [np.zeros((3, 3)), np.zeros(2), np.array([[640.0, 0.0]]), np.array([[np.nan, 1.0]])])
def test_points_that_cannot_be_followed_are_an_error(episode, points):
    simulator, _, frames = episode
    with pytest.raises(InputError, match="points: expected"):
        PointTrackRecorder(simulator).start(points, frames[-1][0])


def test_an_environment_without_pictures_is_an_error():
    simulator = make_environment("panda_pick_cube", render=False)
    observation = simulator.reset(0)
    with pytest.raises(InputError, match="does not render"):
        PointTrackRecorder(simulator).start(np.zeros((1, 2)), observation)
    simulator.close()
