"""The policy ``stvla`` as the server uses it."""

from collections import Counter

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from policy_inputs import BRIDGE, CAMERA, FRACTAL
from scipy.spatial.transform import Rotation
from tiny_checkpoint import depth_map, picture

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import to_end_effector_action
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.registry import check_policy, make_policy
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.shared_files import default_checkpoint


def observation(**changed):
    usual = {"stamp": 0, "rgb": picture(1), "depth": depth_map(), "intrinsics": CAMERA, "instruction": "put the spoon"}
    return PolicyInput.of(**{**usual, **changed})


@pytest.fixture(scope="module")
def calls():
    """How often each kind of network ran while the policy loaded; filled by ``policy``."""
    return Counter()


@pytest.fixture(scope="module")
def policy(checkpoint, calls):
    made = make_policy("stvla", checkpoint=str(checkpoint), device="cpu", unnorm_key=FRACTAL)
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: calls.update([type(module).__name__])
    )
    try:
        made.load()
    finally:
        handle.remove()
    return made


def as_array(actions):
    return np.array([[*action.translation, *action.rotation, action.gripper] for action in actions])


def test_load_has_run_the_whole_network(policy, calls):
    assert calls["PictureEncoder"] >= 2


def test_chunk_is_the_predictors_with_rotation_vectors(policy, predictor):
    actions = policy.predict(observation()).actions
    assert len(actions) == 4 and all(isinstance(action, EndEffectorAction) for action in actions)
    expected = predictor.predict(picture(1), "put the spoon", depth_map(), CAMERA, FRACTAL).actions
    vectors = Rotation.from_euler("xyz", expected[:, 3:6]).as_rotvec()
    np.testing.assert_allclose(as_array(actions), np.column_stack([expected[:, :3], vectors, expected[:, 6]]))


def test_same_observation_gives_the_same_chunk(policy):
    first = as_array(policy.predict(observation()).actions)
    policy.predict(observation(instruction="close drawer", rgb=picture(2)))
    np.testing.assert_array_equal(as_array(policy.predict(observation(stamp=9)).actions), first)


def test_reset_changes_nothing_because_nothing_is_remembered(policy):
    first = as_array(policy.predict(observation()).actions)
    policy.reset()
    np.testing.assert_array_equal(as_array(policy.predict(observation()).actions), first)


def test_camera_without_intrinsics_gets_the_checkpoints(policy, predictor):
    expected = predictor.predict(picture(1), "put the spoon", depth_map(), None, FRACTAL).actions
    np.testing.assert_array_equal(
        as_array(policy.predict(observation(intrinsics=None)).actions)[:, :3], expected[:, :3]
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth": np.zeros((224, 224), np.float32)}, "depth: expected some known"),
        ({"depth": np.ones((100, 90), np.float32)}, "depth: expected shape"),
        ({"depth": None}, "depth: expected metres, because the checkpoint's own depth network was not loaded"),
        ({"rgb": np.zeros((224, 224), np.uint8)}, "rgb: expected"),
        ({"instruction": "  "}, "instruction: expected"),
        ({"intrinsics": np.zeros((3, 3))}, "intrinsics: expected"),
    ],
)
def test_unusable_observation_is_refused(policy, changed, message):
    with pytest.raises(InputError, match=rf"\A{message}[^\n]*\Z"):
        policy.predict(observation(**changed))


def test_predict_before_load_is_refused(checkpoint):
    with pytest.raises(InputError, match=r"^policy spatialvla: expected load\(\) before predict\(\)"):
        SpatialVlaPolicy(str(checkpoint)).predict(observation())


@pytest.fixture
def without_warm_up(monkeypatch):
    """Only which statistics are chosen matters here."""
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

    monkeypatch.setattr(SpatialVlaPredictor, "warm_up", lambda self: None)


@pytest.mark.parametrize(
    ("own", "fallback", "expected"), [(BRIDGE, FRACTAL, BRIDGE), ("", FRACTAL, FRACTAL), (FRACTAL, "", FRACTAL)]
)
def test_statistics_are_the_given_ones_or_else_the_robots(
    checkpoint, predictor, without_warm_up, own, fallback, expected
):
    policy = SpatialVlaPolicy(str(checkpoint), "cpu", unnorm_key=own, fallback_unnorm_key=fallback)
    policy.load()
    answer = predictor.predict(picture(1), "put the spoon", depth_map(), CAMERA, expected).actions
    np.testing.assert_array_equal(as_array(policy.predict(observation()).actions)[:, :3], answer[:, :3])


@pytest.mark.parametrize(("own", "fallback"), [("nope", FRACTAL), ("", ""), ("", "of/another_robot")])
def test_statistics_that_are_not_there_end_the_load_with_those_that_are(checkpoint, without_warm_up, own, fallback):
    with pytest.raises(InputError, match=f"^unnorm_key: expected one of {BRIDGE}, {FRACTAL}; got "):
        SpatialVlaPolicy(str(checkpoint), "cpu", unnorm_key=own, fallback_unnorm_key=fallback).load()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"checkpoint": "/nowhere"}, "checkpoint: expected a folder"),
        ({"device": "tpu"}, "device: expected"),
        ({"device": "cuda:77"}, "device: 'cuda:77' asked for"),
        ({"dtype": "int4"}, "dtype: expected"),
        ({"resize": "nearest"}, "resize: expected"),
        ({"temperature": -1.0}, "temperature: expected"),
        ({"temperature": "hot"}, "temperature: expected"),
        ({"seed": "x"}, "seed: expected"),
    ],
)
def test_unusable_parameter_ends_the_load_with_its_name(checkpoint, parameters, message):
    with pytest.raises(InputError, match=rf"\A{message}[^\n]*\Z"):
        SpatialVlaPolicy(**{"checkpoint": str(checkpoint), "unnorm_key": BRIDGE, "device": "cpu", **parameters}).load()


def test_without_a_checkpoint_it_is_the_one_that_comes_along():
    policy = make_policy("stvla", threads=1)
    policy.load()
    rgb, metres = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32)
    k = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    actions = policy.predict(PolicyInput.of(0, rgb, metres, k, "stack the green block on the yellow block")).actions
    assert len(actions) == 8
    assert sum(file.stat().st_size for file in default_checkpoint().glob("*.safetensors")) < 20e6


def test_policy_takes_no_unknown_parameter():
    with pytest.raises(InputError, match="^policy stvla: takes no checkpiont; it takes "):
        check_policy("stvla", {"checkpiont": "x"})


def test_failed_load_leaves_the_policy_unusable_not_half_loaded(checkpoint):
    policy = SpatialVlaPolicy(str(checkpoint), "cpu", unnorm_key="nope")
    with pytest.raises(InputError):
        policy.load()
    with pytest.raises(InputError, match=r"expected load\(\)"):
        policy.predict(observation())


ANGLES = arrays(np.float64, 3, elements=st.floats(-3.1, 3.1))


@examples(quick=100)
@given(angles=ANGLES, translation=arrays(np.float64, 3, elements=st.floats(-1, 1)), gripper=st.sampled_from([0.0, 1.0]))
def test_roll_pitch_yaw_are_turns_about_the_fixed_axes_in_this_order(angles, translation, gripper):
    action = to_end_effector_action(np.array([*translation, *angles, gripper]))
    (cr, cp, cy), (sr, sp, sy) = np.cos(angles), np.sin(angles)
    roll = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pitch = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    yaw = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    np.testing.assert_allclose(Rotation.from_rotvec(action.rotation).as_matrix(), yaw @ pitch @ roll, atol=1e-9)
    np.testing.assert_array_equal(action.translation, translation)
    assert action.gripper == gripper


@examples(quick=30)
@given(angle=st.floats(-3.0, 3.0), axis=st.integers(0, 2))
def test_one_angle_is_a_rotation_vector_along_its_axis(angle, axis):
    action = np.zeros(7)
    action[3 + axis] = angle
    expected = np.zeros(3)
    expected[axis] = angle
    np.testing.assert_allclose(to_end_effector_action(action).rotation, expected, atol=1e-12)
