"""Answers of the published InternVLA-M1 code for the tiny run (``data/st4vla_reference.npz``), and how close is close
enough: see test_st4vla_parity.py.
"""

from pathlib import Path

import numpy as np
import torch
from tiny_st4vla import config, picture, tensors

from stvla_ros.policy.pictures import prepare_picture
from stvla_ros.policy.st4vla.encoder_inputs import dino_pixels, patches
from stvla_ros.policy.st4vla.model import St4Vla

GOLDEN = np.load(Path(__file__).parent / "data" / "st4vla_reference.npz")
INSTRUCTIONS = [str(instruction) for instruction in GOLDEN["instructions"]]
# case: pictures of each sample, instruction of each sample
CASES = {
    "one": ([[picture(1)]], [0]),
    "views": ([[picture(2), picture(3)]], [1]),
    "resized": ([[picture(4, 300, 400)]], [1]),
    "unequal": ([[picture(1)], [picture(2)]], [0, 1]),
}
# What is asked for: the largest difference, of the largest number.
CLOSE = 1e-4


def same(got, expected) -> None:
    """Fail where the two differ by more than ``CLOSE`` of the largest expected number."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    assert np.isfinite(got).all(), "not finite"
    assert difference(got, expected) <= CLOSE


def difference(got, expected) -> float:
    """The largest difference, of the largest expected number."""
    return float(np.abs(np.asarray(got) - np.asarray(expected)).max() / np.abs(expected).max())


def tiny_model(**changed) -> St4Vla:
    """The network of the tiny run, its weights loaded strictly. The padding is seen, as the published code lets it."""
    content = config()
    content["framework"]["layer_qformer"] |= {"mask_padding": False, **changed}
    model = St4Vla(content)
    model.load_state_dict(tensors(), strict=True)
    return model.eval().requires_grad_(False)


def inputs(case: str) -> dict[str, torch.Tensor]:
    """What ``features`` takes, out of pictures; the text as the published code has it."""
    pictures = [prepare_picture(each, 224) for views in CASES[case][0] for each in views]
    stacked = torch.from_numpy(np.stack(pictures))
    pixels, grid = patches(stacked)
    return {
        "pixel_values": pixels,
        "image_grid_thw": grid,
        "input_ids": torch.from_numpy(GOLDEN[f"{case}/input_ids"].astype(np.int64)),
        "attention_mask": torch.from_numpy(GOLDEN[f"{case}/attention_mask"].astype(np.int64)),
        "dino_pixels": dino_pixels(stacked),
    }
