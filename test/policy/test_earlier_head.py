"""The head for an earlier picture: nothing at the start, a part of the checkpoint that was trained with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from policy_inputs import BRIDGE, arguments

from stvla_ros.acting.control_loop import LockstepControl
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.base import Picture, PolicyInput
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.spatialvla.adapters import add_adapters, save_adapter
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.policy.spatialvla.loading import write_merged
from stvla_ros.policy.spatialvla.policy import SpatialVlaPolicy
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

HEAD = {f"earlier_head.layers.{layer}.{part}" for layer in (0, 1, 3) for part in ("weight", "bias")}


def shake(head: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(parameter))


def with_head(checkpoint: Path, dtype: str = "float32", shaken: bool = False, **options: Any) -> SpatialVlaPredictor:
    loaded = load_policy(str(checkpoint), dtype=dtype)
    head = loaded.model.add_head("earlier_head", seed=3)
    if shaken:
        shake(head)
    processor = {**loaded.processor, "earlier_picture_s": 1.0}
    return SpatialVlaPredictor(loaded.model, loaded.prompt_tokenizer, processor, **options)


def inputs() -> dict[str, Any]:
    """A picture, and the same upside down before it."""
    given = arguments()
    earlier = Picture(given["rgb"][::-1].copy(), given["depth"][::-1].copy())
    return {**given, "earlier": earlier, "return_details": True}


@pytest.fixture(scope="module")
def shaken(checkpoint: Path) -> SpatialVlaPredictor:
    """Of a checkpoint whose head was trained; not to be changed."""
    return with_head(checkpoint, shaken=True)


@pytest.fixture(scope="module")
def saved(shaken: SpatialVlaPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "saved"
    shaken.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_published_checkpoint_answers_to_the_bit_as_before(checkpoint: Path, dtype: str) -> None:
    given = inputs()
    beside = with_head(checkpoint, dtype).predict(**given)
    before = load_policy(str(checkpoint), dtype=dtype).predict(**{**given, "earlier": None})
    for name in ("tokens", "image_features", "logits"):
        np.testing.assert_array_equal(getattr(beside, name), getattr(before, name))


def test_each_patch_gets_what_was_seen_at_its_place(shaken: SpatialVlaPredictor) -> None:
    given = inputs()
    still = shaken.predict(**{**given, "earlier": Picture(given["rgb"], given["depth"])})
    assert (still.image_features == shaken.predict(**{**given, "earlier": None}).image_features).all()
    assert (still.image_features != shaken.predict(**given).image_features).any(axis=1).mean() > 0.9


def test_the_head_travels_with_its_checkpoint(saved: Path, shaken: SpatialVlaPredictor) -> None:
    loaded, given = load_policy(str(saved)), inputs()
    np.testing.assert_array_equal(loaded.predict(**given).image_features, shaken.predict(**given).image_features)
    assert json.loads((saved / "config.json").read_text())["earlier_head"] is True
    assert loaded.earlier_s == 1.0


@pytest.mark.parametrize("seconds", [0, -1.0, "1", None, True, 1e9])
def test_a_head_without_seconds_is_refused(checkpoint: Path, seconds: Any) -> None:
    loaded = load_policy(str(checkpoint))
    loaded.model.add_head("earlier_head")
    with pytest.raises(InputError, match=r"\Aprocessor_config.json earlier_picture_s: expected seconds [^\n]*\Z"):
        SpatialVlaPredictor(loaded.model, loaded.prompt_tokenizer, {**loaded.processor, "earlier_picture_s": seconds})


def test_seconds_without_a_head_and_an_unexpected_picture_are_refused(predictor: SpatialVlaPredictor) -> None:
    with pytest.raises(InputError, match="earlier_picture_s: expected none, the network has no earlier_head, got 1.0"):
        SpatialVlaPredictor(
            predictor.model, predictor.prompt_tokenizer, {**predictor.processor, "earlier_picture_s": 1.0}
        )
    with pytest.raises(InputError, match=r"\Aearlier: expected None, the checkpoint was not trained[^\n]*\Z"):
        predictor.predict(**inputs())


def test_an_adapter_brings_its_head_to_a_checkpoint_without(checkpoint: Path, tmp_path: Path) -> None:
    trained = with_head(checkpoint)
    model = trained.model
    add_adapters(model, LoraConfig(rank=4, alpha=6.0), train_heads=["earlier_head"])
    names = {name for name, each in model.named_parameters() if each.requires_grad and ".lora_" not in name}
    assert names == HEAD
    shake(model.earlier_head)
    save_adapter(model, tmp_path / "adapter", str(checkpoint), trained.processor)
    plain = Accelerations(fused_layers=False)  # fused layers know nothing of adapters
    given = inputs()
    expected = SpatialVlaPredictor(model, trained.prompt_tokenizer, trained.processor, plain).predict(**given)
    write_merged(tmp_path / "adapter", tmp_path / "merged")
    for folder in ("adapter", "merged"):
        loaded = load_policy(str(tmp_path / folder), accelerations=plain)
        np.testing.assert_array_equal(loaded.predict(**given).tokens, expected.tokens)
        np.testing.assert_allclose(loaded.predict(**given).image_features, expected.image_features, atol=1e-5)


def test_in_an_episode_the_policy_sees_what_was_there_a_second_before(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in the first second what was there first, as in training."""
    policy = SpatialVlaPolicy(str(saved), device="cpu", dtype="float32", unnorm_key=BRIDGE, threads=1)
    policy.load()
    shown: list[int] = []
    predict = SpatialVlaPredictor.predict

    def noted(self: SpatialVlaPredictor, *args: Any, earlier: Picture | None = None, **options: Any) -> Any:
        shown.append(-1 if earlier is None else int(earlier.rgb[0, 0, 0]))
        return predict(self, *args, earlier=earlier, **options)

    monkeypatch.setattr(SpatialVlaPredictor, "predict", noted)
    control = LockstepControl(policy, "receding", 200_000_000, 0)
    for frame in range(8):
        rgb, depth = np.full((60, 80, 3), frame, np.uint8), np.full((60, 80), 0.7, np.float32)
        control.act(PolicyInput.of(frame * 200_000_000, rgb, depth, None, "tap"), 0.0)
    assert shown == [-1, 0, 0, 0, 0, 0, 1, 2]
