"""The Python entry point: what it answers, and what it refuses in one line."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_inputs import BRIDGE, CAMERA, FRACTAL, arguments
from tiny_checkpoint import HIDDEN, VOCABULARY, depth_map, picture, processor
from tolerance import assert_same_but_for_rounding

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.pictures import prepare_depth

REPOSITORY = Path(__file__).parents[2]
# From the picture to a score: 2 layers of 6 and 3 about them, then 3 layers of 7.
PRODUCTS = 36


@pytest.fixture(scope="session")
def details(predictor):
    return predictor.predict(**arguments(), return_details=True)


@pytest.fixture(scope="session")
def own_depth(predictor):
    """ZoeDepth runs: slow, so once."""
    return predictor.predict(**arguments(depth=None), return_details=True)


def refusal(predictor, **changed):
    with pytest.raises(InputError) as refused:
        predictor.predict(**arguments(**changed))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_tokens_are_four_legal_triples(details):
    assert details.tokens.shape == (4, 3) and details.tokens.dtype == np.int64
    low, high = np.array([(0, 4096), (4096, 8192), (8192, 8194)]).T
    assert ((details.tokens >= low) & (details.tokens < high)).all()


def test_normalized_actions_are_in_their_range(details):
    assert details.normalized.shape == (4, 7) and details.normalized.dtype == np.float64
    assert (np.abs(details.normalized[:, :6]) <= 1).all() and set(details.normalized[:, 6]) <= {0.0, 1.0}


@pytest.mark.parametrize("key", [BRIDGE, FRACTAL])
def test_actions_are_scaled_by_the_data_sets_quantiles(predictor, key):
    prediction = predictor.predict(**arguments(unnorm_key=key))
    statistics = processor()["statistics"][key]["action"]
    low, high = np.array(statistics["q01"]), np.array(statistics["q99"])
    expected = 0.5 * (prediction.normalized + 1) * (high - low) + low
    np.testing.assert_allclose(prediction.actions[:, :6], expected[:, :6], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(prediction.actions[:, 6], prediction.normalized[:, 6])


@pytest.mark.parametrize(
    ("name", "shape"),
    [("depth", (224, 224)), ("xyz", (256, 12)), ("image_features", (256, HIDDEN)), ("logits", (VOCABULARY,))],
)
def test_detail_has_its_shape(details, name, shape):
    value = getattr(details, name)
    assert value.shape == shape and value.dtype == np.float32 and np.isfinite(value).all()


def test_answer_has_details_only_when_they_are_asked_for(predictor):
    assert not hasattr(predictor.predict(**arguments()), "logits")


def test_details_change_no_action(predictor, details):
    np.testing.assert_array_equal(predictor.predict(**arguments()).tokens, details.tokens)


def test_logits_are_those_that_chose_the_first_token(predictor, details):
    begin = predictor.model.config.action_token_begin
    assert int(details.logits[begin : begin + 4096].argmax()) == details.tokens[0, 0]


def test_given_depth_is_the_depth_used(details):
    np.testing.assert_array_equal(details.depth, depth_map())


def test_given_depth_of_the_pictures_size_is_used_at_the_models_size(predictor):
    depth = np.random.default_rng(0).uniform(0.3, 2, (480, 640)).astype(np.float32)
    used = predictor.predict(**arguments(rgb=picture(1, 480, 640), depth=depth), return_details=True).depth
    np.testing.assert_array_equal(used, prepare_depth(depth, (640, 480), 224))


def test_own_depth_differs_from_the_given(details, own_depth):
    assert own_depth.depth.shape == (224, 224) and np.isfinite(own_depth.depth).all()
    assert np.abs(own_depth.depth - details.depth).max() > 0.05
    assert np.abs(own_depth.xyz - details.xyz).max() > 0.05


def test_own_depth_handed_in_again_gives_the_same_answer(predictor, own_depth):
    again = predictor.predict(**arguments(depth=own_depth.depth), return_details=True)
    np.testing.assert_array_equal(again.tokens, own_depth.tokens)
    np.testing.assert_array_equal(again.image_features, own_depth.image_features)


def test_zoedepth_does_not_run_when_depth_is_given(predictor, details):
    def refuse(*_):
        raise AssertionError("ZoeDepth ran")

    hook = predictor.model.vision_zoe_model.register_forward_pre_hook(refuse)
    try:
        np.testing.assert_array_equal(predictor.predict(**arguments()).tokens, details.tokens)
    finally:
        hook.remove()


def test_broken_zoedepth_is_told_and_does_no_harm_to_given_depth(predictor, details):
    weight = predictor.model.vision_zoe_model.relative_head.conv1.weight
    kept = weight.clone()
    weight.fill_(float("nan"))
    try:
        np.testing.assert_array_equal(predictor.predict(**arguments()).tokens, details.tokens)
        assert refusal(predictor, depth=None).startswith("inference: expected finite scores, got NaN")
    finally:
        weight.copy_(kept)


def test_depth_moves_the_points_and_the_features(predictor, details):
    nearer = predictor.predict(**arguments(depth=depth_map() * np.float32(0.5)), return_details=True)
    assert_same_but_for_rounding(nearer.xyz, details.xyz * np.float32(0.5), 1)
    assert not np.array_equal(nearer.image_features, details.image_features)


def test_intrinsics_move_the_points_sideways_only(predictor, details):
    xyz = predictor.predict(**arguments(intrinsics=CAMERA), return_details=True).xyz.reshape(256, 4, 3)
    usual = details.xyz.reshape(256, 4, 3)
    np.testing.assert_array_equal(xyz[..., 2], usual[..., 2])
    assert np.abs(xyz[..., :2] - usual[..., :2]).max() > 0.01


def test_intrinsics_are_in_the_pictures_pixels(predictor):
    scaled = CAMERA * [[640 / 224], [480 / 224], [1]]
    small = predictor.predict(**arguments(intrinsics=CAMERA), return_details=True).xyz
    large = predictor.predict(**arguments(rgb=picture(1, 480, 640), intrinsics=scaled), return_details=True).xyz
    assert_same_but_for_rounding(large, small, 1)


def test_default_intrinsics_do_not_depend_on_the_pictures_size(predictor, details):
    large = predictor.predict(**arguments(rgb=picture(1, 480, 640)), return_details=True)
    np.testing.assert_array_equal(large.xyz, details.xyz)


def test_same_input_twice_gives_the_same_answer(predictor, details):
    again = predictor.predict(**arguments(), return_details=True)
    for name in ("tokens", "normalized", "actions", "depth", "xyz", "image_features", "logits"):
        np.testing.assert_array_equal(getattr(again, name), getattr(details, name))


def test_inputs_are_left_alone(predictor):
    given = arguments(intrinsics=CAMERA.copy())
    given["depth"][:20] = 0
    before = copy.deepcopy(given)
    predictor.predict(**given, return_details=True)
    for name in ("rgb", "depth", "intrinsics"):
        np.testing.assert_array_equal(given[name], before[name])


def test_read_only_inputs_are_taken(predictor, details):
    given = arguments()
    given["rgb"].setflags(write=False)
    given["depth"].setflags(write=False)
    np.testing.assert_array_equal(predictor.predict(**given).tokens, details.tokens)


def test_details_are_the_callers_own(predictor, details):
    answer = predictor.predict(**arguments(), return_details=True)
    for name in ("depth", "xyz", "image_features", "logits", "tokens"):
        getattr(answer, name)[:] = 0
    again = predictor.predict(**arguments(), return_details=True)
    np.testing.assert_array_equal(again.image_features, details.image_features)


def test_instruction_matters(predictor, details):
    other = predictor.predict(**arguments(instruction="close the drawer"), return_details=True)
    assert not np.array_equal(other.logits, details.logits)


def test_case_and_outer_spaces_of_the_instruction_do_not_matter(predictor, details):
    other = predictor.predict(**arguments(instruction="  PUT the Spoon on TOWEL \n"), return_details=True)
    np.testing.assert_array_equal(other.logits, details.logits)


@pytest.mark.parametrize("instruction", ["拿起勺子", "возьми ложку", "ضع الملعقة", "नमस्ते", "cuillère 🥄", "a" * 100])
def test_instruction_in_any_writing_is_taken(predictor, instruction):
    assert predictor.predict(**arguments(instruction=instruction)).actions.shape == (4, 7)


@pytest.mark.parametrize(
    "instruction", ["", " \t\n ", "x" * 500, "word " * 200_000, None, 5, b"open", ["open"], "<image>", "<bos>", "a\nb"]
)  # fmt: skip
def test_unusable_instruction_is_refused(predictor, instruction):
    assert refusal(predictor, instruction=instruction).startswith("instruction: expected ")


@pytest.mark.parametrize("key", ["nope", "", None, 5])
def test_an_unnorm_key_that_is_not_there_lists_those_that_are(predictor, key):
    message = refusal(predictor, unnorm_key=key)
    assert message.startswith("unnorm_key: expected one of ") and BRIDGE in message and FRACTAL in message


@pytest.mark.parametrize(
    "rgb",
    [None, "picture", np.zeros((0, 0, 3), np.uint8), picture(1)[..., 0], picture(1).astype(np.float32), picture(1)[:1]],
    ids=["none", "text", "empty", "grayscale", "float", "one row"],
)
def test_unusable_picture_is_refused(predictor, rgb):
    assert refusal(predictor, rgb=rgb, depth=None).startswith("rgb: expected ")


@pytest.mark.parametrize(
    "depth",
    [np.zeros((224, 224), np.float32), np.full((224, 224), np.nan), np.ones((100, 100)), np.ones((224, 224), int)],
    ids=["all zero", "nan", "shape", "int"],
)
def test_unusable_depth_is_refused(predictor, depth):
    assert refusal(predictor, depth=depth).startswith("depth: expected ")


@pytest.mark.parametrize("intrinsics", [np.zeros((3, 3)), np.eye(4), "K", np.full((3, 3), np.inf)])
def test_unusable_intrinsics_are_refused(predictor, intrinsics):
    assert refusal(predictor, intrinsics=intrinsics).startswith("intrinsics: expected ")


def test_predictor_answers_after_it_has_refused(predictor, details):
    refusal(predictor, rgb=None)
    np.testing.assert_array_equal(predictor.predict(**arguments()).tokens, details.tokens)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_on_the_cpu(checkpoint, details, dtype, request):
    if dtype == "bfloat16":
        request.getfixturevalue("bfloat16_attention")
    policy = load_policy(str(checkpoint), dtype=dtype)
    answer = policy.predict(**arguments(), return_details=True)
    assert policy.model.dtype is getattr(torch, dtype)
    # 8 bits of mantissa through a few layers: a coarse agreement is all that there can be.
    assert np.corrcoef(answer.logits, details.logits)[0, 1] > 0.95
    np.testing.assert_array_equal(answer.xyz, details.xyz)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_where_there_is_none_is_one_line(checkpoint):
    with pytest.raises(InputError, match="^device: 'cuda' asked for, but torch sees 0 CUDA devices"):
        load_policy(str(checkpoint), device="cuda")


@pytest.mark.parametrize(("option", "value"), [("device", "tpu"), ("dtype", "int4"), ("dtype", None)])
def test_nonsense_is_refused_before_anything_is_read(option, value):
    with pytest.raises(InputError, match=f"^{option}: expected "):
        load_policy("/nowhere", **{option: value})


def test_checkpoint_can_be_a_path(checkpoint):
    assert set(load_policy(checkpoint).statistics) == {BRIDGE, FRACTAL}


def test_saved_policy_gives_the_same_answer(predictor, details, tmp_path):
    predictor.save_pretrained(tmp_path, max_shard_size="2MB")
    again = load_policy(str(tmp_path)).predict(**arguments(), return_details=True)
    np.testing.assert_array_equal(again.tokens, details.tokens)
    # Weights that lie elsewhere in memory are added up in another order by some kernels.
    assert_same_but_for_rounding(again.logits, details.logits, PRODUCTS)


@pytest.mark.parametrize("file", ["config.json", "processor_config.json", "tokenizer.json", "model.safetensors"])
def test_absent_file_is_named(checkpoint, tmp_path, file):
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / file).unlink()
    with pytest.raises(InputError, match=rf"\Acheckpoint {folder}: expected [^\n]*{file}[^\n]*\Z"):
        load_policy(str(folder))


@pytest.mark.parametrize("size", [(2, 2), (3, 1000), (1080, 1920)], ids=str)
def test_picture_of_any_size_is_taken(predictor, size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.isfinite(predictor.predict(**arguments(rgb=rgb)).actions).all()


def test_package_is_imported_without_torch():
    code = "import sys, stvla_ros.policy, stvla_ros.policy.base; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
