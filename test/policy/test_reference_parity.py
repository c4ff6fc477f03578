"""Numbers that the published SpatialVLA code gave for the tiny checkpoint, against ours.

``data/reference_parity.npz`` was recorded with SpatialVLA's own model and processor classes (transformers 4.47.0, torch
2.15.0, float32 on the CPU, eager attention, hybrid cache for 256 new tokens as its ``predict_action`` asks for), loaded
by their ``from_pretrained`` from the folder that ``tiny_checkpoint`` writes. Only the tokens legal at a position could
be chosen. ``given``: the depth map in place of ZoeDepth's, just before the back-projection.
"""

import hashlib

import numpy as np
import pytest
from reference_answers import (
    CASES,
    GOLDEN,
    INSTRUCTIONS,
    OTHER_HEAD_SEED,
    WITH_GEOMETRY,
    answer,
    recorded_scores,
    same,
    same_tokens,
)
from tiny_checkpoint import HIDDEN, VOCABULARY, shapes, tensor, write_tiny_checkpoint
from tolerance import assert_same_but_for_rounding

from stvla_ros.policy import load_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return load_policy(str(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture(scope="module")
def other_policy(tmp_path_factory):
    """Sharded, to have that in the comparison as well."""
    return load_policy(str(write_tiny_checkpoint(tmp_path_factory.mktemp("other"), shards=3, seed=OTHER_HEAD_SEED)))


@pytest.fixture(scope="module")
def answers_and_scores(policy, other_policy):
    found = {}
    for case in CASES:
        with recorded_scores() as scores:
            found[case] = answer(other_policy if case == "other_head" else policy, case), list(scores)
    return found


@pytest.fixture(scope="module")
def answers(answers_and_scores):
    return {case: each for case, (each, _) in answers_and_scores.items()}


def test_weights_are_those_that_the_reference_ran_with():
    digest = hashlib.sha256(b"".join(tensor(name, shape).tobytes() for name, shape in shapes())).hexdigest()
    assert digest == str(GOLDEN["weights"])


@pytest.mark.parametrize("case", CASES)
def test_prompt_is_the_references(policy, case):
    instruction = INSTRUCTIONS[CASES[case][1]]
    assert policy.prompt_tokenizer.encode(instruction)[256:].tolist() == GOLDEN[f"{case}/prompt"].tolist()


@pytest.mark.parametrize("case", CASES)
def test_tokens_are_the_references(answers_and_scores, case):
    found, scores = answers_and_scores[case]
    same_tokens(case, found.tokens, scores)


@pytest.mark.parametrize("case", CASES)
def test_actions_are_the_references(policy, answers_and_scores, case):
    found, scores = answers_and_scores[case]
    expected = GOLDEN[f"{case}/actions"]
    same_actions = same_tokens(case, found.tokens, scores) // 3
    assert_same_but_for_rounding(found.actions[:same_actions], expected[:same_actions], 1, dtype=np.float64)
    # Of all tokens of the reference, also of those that rounding could have changed.
    normalized = policy.action_tokenizer.decode(GOLDEN[f"{case}/tokens"])
    actions = policy.statistics[CASES[case][4]].unnormalize(normalized)
    assert_same_but_for_rounding(actions, expected, 1, dtype=np.float64)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_references(answers, case):
    assert answers[case].logits.shape == (VOCABULARY,)
    same(case, "logits", answers[case].logits)


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_depth_is_the_references(answers, case):
    assert answers[case].depth.shape == (224, 224)
    same(case, "depth", answers[case].depth)


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_points_are_the_references(answers, case):
    same(case, "xyz", answers[case].xyz)


@pytest.mark.parametrize("case", WITH_GEOMETRY)
def test_image_features_are_the_references(answers, case):
    assert answers[case].image_features.shape == (256, HIDDEN)
    same(case, "image_features", answers[case].image_features)
