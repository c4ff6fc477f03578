"""Answers of the published SpatialVLA code for the tiny checkpoint (``data/reference_parity.npz``), and how close is
close enough: see test_reference_parity.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import depth_map, picture
from tolerance import assert_same_but_for_rounding, rounding

from stvla_ros.policy.spatialvla.decoding.decoder import ChunkDecoder

GOLDEN = np.load(Path(__file__).parent / "data" / "reference_parity.npz")
BRIDGE, FRACTAL = "bridge_orig/1.0.0", "fractal20220817_data/0.1.0"
INSTRUCTIONS = [str(instruction) for instruction in GOLDEN["instructions"]]
# Weights whose domain classifier takes ZoeDepth's outdoor head; those of seed 0 take the indoor one.
OTHER_HEAD_SEED = 3
# case: picture, instruction, depth given, intrinsics given, statistics
CASES = {f"zoe/{p}/{i}": (picture(p), i, False, False, BRIDGE) for p in (1, 2) for i in range(3)} | {
    "given/default": (picture(1), 0, True, False, BRIDGE),
    "given/camera": (picture(2), 1, True, True, BRIDGE),
    "large": (picture(3, 480, 640), 0, False, False, FRACTAL),
    "other_head": (picture(1), 0, False, False, BRIDGE),
}
WITH_GEOMETRY = [case for case in CASES if f"{case}/xyz" in GOLDEN]

# Matrix products and convolutions that a value passes, one after another: the picture encoder (2 layers of 6, and 3
# about them), the language model (3 layers of 7), ZoeDepth (4 layers of 7, neck and head).
ENCODER, LANGUAGE, DEPTH = 15, 21, 60
# Softplus, a sharp choice of bins and attraction between them stretch a difference in ZoeDepth's features; Ego3D's
# highest frequency (64 radians a metre) one in its depth.
STRETCHED = 4.0
# Translation, rotation, gripper: the first legal token of each.
LEGAL_FIRST = (0, 4096, 8192)


def same(case: str, output: str, got: np.ndarray) -> None:
    """Fail where an answer differs from the reference's by more than rounding."""
    expected = GOLDEN[f"{case}/{output}"]
    given = CASES[case][2]
    depth, stretched = (1, 1.0) if given else (DEPTH, STRETCHED)
    if output == "logits":
        got, products = got[GOLDEN["vocabulary_sample"]], depth + ENCODER + LANGUAGE
    elif output == "image_features":
        got, products = got[GOLDEN["patches"]], depth + ENCODER
    elif output == "depth":
        got, products = got[::7, ::7], depth
    else:
        products = depth
    assert_same_but_for_rounding(got, expected, products, stretched)


def same_tokens(case: str, tokens: np.ndarray, scores: Sequence[np.ndarray]) -> int:
    """Fail where a token is not the reference's though rounding leaves no choice.

    :param scores: those of the legal tokens, a row for each of the 12 tokens.
    :returns: how many leading tokens are the reference's; after one that is not, the rest belongs to another sequence.
    """
    expected = GOLDEN[f"{case}/tokens"].ravel()
    assert tokens.size == len(scores) == expected.size
    depth, stretched = (1, 1.0) if CASES[case][2] else (DEPTH, STRETCHED)
    for step, (token, wanted, row) in enumerate(zip(tokens.ravel(), expected, scores, strict=True)):
        if token != wanted:
            first = LEGAL_FIRST[step % 3]
            within = 2 * rounding(row, depth + ENCODER + LANGUAGE, stretched)
            behind = row.max() - row[[token - first, wanted - first]].min()
            assert behind <= within, f"token {step}: {token}, the reference's {wanted}, {behind} behind the best"
            return step
    return expected.size


@contextmanager
def recorded_scores() -> Iterator[list[np.ndarray]]:
    """What the decoder scores meanwhile, a row for each token."""
    rows: list[np.ndarray] = []
    scored = ChunkDecoder._legal_scores

    def record(decoder, hidden, first, end):
        scores = scored(decoder, hidden, first, end)
        rows.append(scores[0].numpy().copy())
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ChunkDecoder, "_legal_scores", record)
        yield rows


def answer(policy, case):
    rgb, instruction, depth_given, intrinsics_given, key = CASES[case]
    return policy.predict(
        rgb,
        INSTRUCTIONS[instruction],
        depth=depth_map() if depth_given else None,
        intrinsics=GOLDEN["given/intrinsics"] if intrinsics_given else None,
        unnorm_key=key,
        return_details=True,
    )
