"""Numbers that the published SpatialVLA code gave for the tiny checkpoint, against ours.

``data/reference_parity.npz`` was recorded with SpatialVLA's own model and processor classes (transformers 4.47.0, torch
2.15.0, float32 on the CPU, eager attention, hybrid cache for 256 new tokens as its ``predict_action`` asks for), loaded
by their ``from_pretrained`` from the folder that ``tiny_checkpoint`` writes. Only the tokens legal at a position could
be chosen. ``given``: the depth map in place of ZoeDepth's, just before the back-projection.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import HIDDEN, VOCABULARY, depth_map, picture, shapes, tensor, write_tiny_checkpoint

from stvla_ros.policy import load_policy

GOLDEN = np.load(Path(__file__).parent / "data" / "reference_parity.npz")
BRIDGE, FRACTAL = "bridge_orig/1.0.0", "fractal20220817_data/0.1.0"
INSTRUCTIONS = [str(instruction) for instruction in GOLDEN["instructions"]]
OTHER_HEAD_SEED = (
    3  # weights whose domain classifier takes ZoeDepth's outdoor head; those of seed 0 take the indoor one
)
# case: picture, instruction, depth given, intrinsics given, statistics
CASES = {f"zoe/{p}/{i}": (picture(p), i, False, False, BRIDGE) for p in (1, 2) for i in range(3)} | {
    "given/default": (picture(1), 0, True, False, BRIDGE),
    "given/camera": (picture(2), 1, True, True, BRIDGE),
    "large": (picture(3, 480, 640), 0, False, False, FRACTAL),
    "other_head": (picture(1), 0, False, False, BRIDGE),
}
WITH_GEOMETRY = [case for case in CASES if f"{case}/xyz" in GOLDEN]


# Ego3D's highest frequency turns the last digits of an estimated depth into several times as much.
FEATURES_WITHIN = {case: 2e-5 if case.startswith("given") else 2e-4 for case in CASES}
LOGITS_WITHIN = {case: 2e-4 if case.startswith("given") else 1e-3 for case in CASES}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return load_policy(str(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(scope="module")
def other_policy(tmp_path_factory):
    """Sharded, to have that in the comparison as well."""
    return load_policy(str(write_tiny_checkpoint(tmp_path_factory.mktemp("other"), shards=3, seed=OTHER_HEAD_SEED)))


@pytest.fixture(scope="module")
def answers(policy, other_policy):
    def answer(case, rgb, instruction, depth_given, intrinsics_given, key):
        return (other_policy if case == "other_head" else policy).predict(
            rgb,
            INSTRUCTIONS[instruction],
            depth=depth_map() if depth_given else None,
            intrinsics=GOLDEN["given/intrinsics"] if intrinsics_given else None,
            unnorm_key=key,
            return_details=True,
        )

    return {case: answer(case, *arguments) for case, arguments in CASES.items()}


def test_weights_are_those_that_the_reference_ran_with():
    digest = hashlib.sha256(b"".join(tensor(name, shape).tobytes() for name, shape in shapes())).hexdigest()
    assert digest == str(GOLDEN["weights"])


@pytest.mark.parametrize("case", CASES)
def test_prompt_is_the_references(policy, case):
    instruction = INSTRUCTIONS[CASES[case][1]]
    assert policy.prompt_tokenizer.encode(instruction)[256:].tolist() == GOLDEN[f"{case}/prompt"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_the_references(answers, case):
    assert answers[case].tokens.tolist() == GOLDEN[f"{case}/tokens"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_actions_are_the_references(answers, case):
    np.testing.assert_allclose(answers[case].actions, GOLDEN[f"{case}/actions"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_references(answers, case):
    logits = answers[case].logits
    assert logits.shape == (VOCABULARY,)
    np.testing.assert_allclose(
        logits[GOLDEN["vocabulary_sample"]], GOLDEN[f"{case}/logits"], rtol=0, atol=LOGITS_WITHIN[case]
    )


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_depth_is_the_references(answers, case):
    depth = answers[case].depth
    assert depth.shape == (224, 224)
    np.testing.assert_allclose(depth[::7, ::7], GOLDEN[f"{case}/depth"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_points_are_the_references(answers, case):
    assert answers[case].xyz.shape == (256, 12)
    np.testing.assert_allclose(answers[case].xyz, GOLDEN[f"{case}/xyz"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_image_features_are_the_references(answers, case):
    features = answers[case].image_features
    assert features.shape == (256, HIDDEN)
    expected = GOLDEN[f"{case}/image_features"]
    np.testing.assert_allclose(features[GOLDEN["patches"]], expected, rtol=0, atol=FEATURES_WITHIN[case])
