"""The head for traces: nothing at the start and without traces, a part of the checkpoint that was trained with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from policy_inputs import CAMERA, arguments
from safetensors import safe_open

from stvla_ros.errors import InputError
from stvla_ros.perception.trace_cells import CELL_NUMBERS
from stvla_ros.perception.types import Traces, TracesInDepth
from stvla_ros.policy import load_policy
from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.spatialvla.adapters import add_adapters, save_adapter
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.policy.spatialvla.loading import write_merged
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor
from stvla_ros.policy.spatialvla.trace_head import TraceHead, patch_cells

HEAD = {f"trace_head.layers.{layer}.{part}" for layer in (0, 1, 3) for part in ("weight", "bias")}


def traces(width: int, height: int) -> TracesInDepth:
    """Two that cross the picture."""
    frames = np.linspace(0.1, 0.8, 6, dtype=np.float32)[:, None, None]
    points = frames * np.array([[[width, height], [width, 0.5 * height]]], np.float32)
    stamps = np.arange(6, dtype=np.int64) * 200_000_000
    found = Traces(points, np.ones((6, 2), bool), np.arange(2, dtype=np.uint32), stamps, (width, height))
    return TracesInDepth(found, np.linspace(0.5, 1.0, 12, dtype=np.float32).reshape(6, 2))


def shake(head: TraceHead, seed: int = 1) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator).to(parameter))


def inputs() -> dict:
    given = arguments()
    height, width = given["rgb"].shape[:2]
    return {**given, "traces": traces(width, height), "return_details": True}


def with_head(checkpoint: Path, dtype: str = "float32", shaken: bool = False) -> SpatialVlaPredictor:
    loaded = load_policy(str(checkpoint), dtype=dtype)
    loaded.model.add_head("trace_head", seed=3)
    if shaken:
        shake(loaded.model.trace_head)
    return SpatialVlaPredictor(loaded.model, loaded.prompt_tokenizer, loaded.processor)


@pytest.fixture(scope="module")
def shaken(checkpoint: Path) -> SpatialVlaPredictor:
    """Of a checkpoint whose head was trained; not to be changed."""
    return with_head(checkpoint, shaken=True)


@pytest.fixture
def saved(shaken: SpatialVlaPredictor, tmp_path: Path) -> Path:
    shaken.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_published_checkpoint_answers_to_the_bit_as_before(checkpoint: Path, dtype: str) -> None:
    given = inputs()
    beside = with_head(checkpoint, dtype).predict(**given)
    before = load_policy(str(checkpoint), dtype=dtype).predict(**{**given, "traces": None})
    for name in ("tokens", "image_features", "logits"):
        np.testing.assert_array_equal(getattr(beside, name), getattr(before, name))


def test_traces_change_what_a_trained_head_adds(shaken: SpatialVlaPredictor) -> None:
    given = inputs()
    beside, without = (shaken.predict(**given), shaken.predict(**{**given, "traces": None}))
    changed = (beside.image_features != without.image_features).any(axis=1).reshape(16, 16)
    # The patches along the two lines, and no other.
    assert 0.02 < changed.mean() < 0.3 and changed[5, 5] and not changed[15, 0]


def test_without_traces_a_trained_head_adds_nothing(
    shaken: SpatialVlaPredictor, predictor: SpatialVlaPredictor
) -> None:
    given = {**inputs(), "traces": None}
    np.testing.assert_array_equal(shaken.predict(**given).image_features, predictor.predict(**given).image_features)


def test_padded_prompts_get_the_same_traces(shaken: SpatialVlaPredictor) -> None:
    """What a CUDA graph runs, with and without sampling."""
    predictor, given = shaken, inputs()
    model, tokens = predictor.model, predictor._predict_tokens
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    k = torch.from_numpy(CAMERA).float()[None]
    points = model.points(torch.from_numpy(np.ones((224, 224))).float()[None], k)
    height, width = given["rgb"].shape[:2]
    cells = predictor._cells(given["traces"], (width, height), k)
    text = predictor._text(given["instruction"])
    noise = torch.zeros(12, max(end - first for first, end in predictor._legal_ranges))
    with torch.inference_mode():
        for each in (None, noise):
            padded = tokens._padded_inputs(pixels, points, text, each, cells)
            assert tokens._for_padded(padded)(*padded).tolist() == tokens(pixels, points, text, each, cells).tolist()
    assert len(tokens._padded) == 2


def test_a_cell_comes_to_its_patch() -> None:
    cells = torch.zeros(1, 32, 32, CELL_NUMBERS)
    cells[0, 7, 10, 3] = 1.0  # row 7, column 10: second sub-row of patch row 3, first sub-column of patch column 5
    assert patch_cells(cells, 2).nonzero().tolist() == [[0, 3 * 16 + 5, 2, 3]]
    assert patch_cells(cells, 4).nonzero().tolist() == [[0, 1 * 8 + 2, 3 * 4 + 2, 3]]


def test_the_head_travels_with_its_checkpoint(saved: Path, shaken: SpatialVlaPredictor, checkpoint: Path) -> None:
    given = inputs()
    np.testing.assert_array_equal(
        load_policy(str(saved)).predict(**given).image_features, shaken.predict(**given).image_features
    )
    assert json.loads((saved / "config.json").read_text())["trace_head"] is True
    with (
        safe_open(saved / "model.safetensors", "pt") as mine,
        safe_open(checkpoint / "model.safetensors", "pt") as published,
    ):
        assert set(mine.keys()) - set(published.keys()) == HEAD


def test_without_the_head_a_checkpoint_is_as_published(
    shaken: SpatialVlaPredictor, checkpoint: Path, tmp_path: Path
) -> None:
    other = with_head(checkpoint)
    other.model.remove_head("trace_head")
    other.save_pretrained(tmp_path)
    assert "trace_head" not in json.loads((tmp_path / "config.json").read_text())
    with (
        safe_open(tmp_path / "model.safetensors", "pt") as mine,
        safe_open(checkpoint / "model.safetensors", "pt") as published,
    ):
        assert set(mine.keys()) == set(published.keys())


def test_a_checkpoint_that_lacks_the_heads_tensors_is_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "trace_head": False}))
    with pytest.raises(InputError, match="trace_head"):
        load_policy(str(saved))
    (saved / "config.json").write_text(json.dumps({**config, "trace_head": "yes"}))
    with pytest.raises(InputError, match="config.json: expected trace_head to be true or false, got 'yes'"):
        load_policy(str(saved))


def test_traces_for_a_checkpoint_without_the_head_are_refused(predictor: SpatialVlaPredictor) -> None:
    with pytest.raises(
        InputError, match=r"\Atraces: expected none, depth or rgb, the checkpoint was not trained[^\n]*\Z"
    ):
        predictor.predict(**inputs())


def test_traces_of_another_picture_are_refused(shaken: SpatialVlaPredictor) -> None:
    with pytest.raises(InputError, match=r"traces: expected those of the picture of .* pixels, got 20x10"):
        shaken.predict(**{**inputs(), "traces": traces(20, 10)})


def test_an_adapter_brings_its_head_to_a_checkpoint_without(checkpoint: Path, tmp_path: Path) -> None:
    trained = load_policy(str(checkpoint))
    model: SpatialVla = trained.model
    model.add_head("trace_head", seed=3)
    add_adapters(model, LoraConfig(rank=4, alpha=6.0), train_heads=["trace_head"])
    names = {name for name, each in model.named_parameters() if each.requires_grad and ".lora_" not in name}
    assert names == HEAD
    shake(model.trace_head)
    save_adapter(model, tmp_path / "adapter", str(checkpoint), trained.processor)
    plain = Accelerations(fused_layers=False)  # fused layers know nothing of adapters
    given = inputs()
    expected = SpatialVlaPredictor(model, trained.prompt_tokenizer, trained.processor, plain).predict(**given)
    loaded = load_policy(str(tmp_path / "adapter"), accelerations=plain)
    np.testing.assert_array_equal(loaded.predict(**given).tokens, expected.tokens)
    np.testing.assert_allclose(loaded.predict(**given).image_features, expected.image_features, atol=1e-5)
    write_merged(tmp_path / "adapter", tmp_path / "merged")
    merged = load_policy(str(tmp_path / "merged"), accelerations=plain)
    np.testing.assert_array_equal(merged.predict(**given).tokens, expected.tokens)
