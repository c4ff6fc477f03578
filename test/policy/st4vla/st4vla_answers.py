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
    states = model.config.states
    state = {name: tensor for name, tensor in tensors().items() if not _is_block_beyond(name, states)}
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False)


def _is_block_beyond(name: str, states: int) -> bool:
    """Whether a tensor is of a block for a state that is not read."""
    return name.startswith("layer_qformer.layers.") and int(name.split(".")[2]) >= states


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


def _figures() -> None:
    """Print the largest differences, of the largest number."""
    model = tiny_model()
    noise = torch.from_numpy(GOLDEN["noise"][:1])
    found: dict[str, list[float]] = {}
    for case in (case for case in CASES if case != "unequal"):
        given = inputs(case)
        pixels = given["pixel_values"][::37, ::11]
        states = torch.stack(model.language_states(*[given[name] for name in list(given)[:4]]))
        features = model.features(**given)
        for what, got in {
            "pixel_values": pixels,
            "states": states[:, :, ::5],
            "dino": model.dino_encoder(given["dino_pixels"])[:, ::9],
            "features": features,
            "sample": model.sample(features, noise),
        }.items():
            found.setdefault(what, []).append(difference(got, GOLDEN[f"{case}/{what}"]))
    for what, differences in found.items():
        print(f"{what:<14}{max(differences):.1e}  n = {len(differences)}")


if __name__ == "__main__":
    _figures()
