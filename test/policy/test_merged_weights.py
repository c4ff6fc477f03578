"""Weights that lie together are still the layers' own."""

import pytest
import torch
from torch import nn

from stvla_ros.policy.lora import LoraConfig
from stvla_ros.policy.spatialvla.adapters import add_adapters
from stvla_ros.policy.spatialvla.checkpoint import empty_model, load_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.decoding.fused_layers import FusedLayers
from stvla_ros.policy.spatialvla.merged_weights import merge_weights
from stvla_ros.policy.spatialvla.sizes import published_config


@pytest.fixture
def layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(5, outputs, bias=False).requires_grad_(False) for outputs in (3, 4, 2)]


@pytest.mark.parametrize("transposed", [False, True])
def test_the_layers_weights_are_rows_of_the_whole(layers: list[nn.Linear], transposed: bool) -> None:
    before = [layer.weight.clone() for layer in layers]
    whole = merge_weights(layers, transposed)
    assert torch.equal(whole, torch.cat(before)) and (whole.t() if transposed else whole).is_contiguous()
    assert all(torch.equal(layer.weight, own) for layer, own in zip(layers, before, strict=True))
    layers[1].weight.fill_(7.0)
    assert (whole[3:7] == 7.0).all() and not (whole == 7.0)[:3].any()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_lies_together_is_not_laid_together_again(layers: list[nn.Linear], device: str) -> None:
    layers = [layer.to(device) for layer in layers]
    first, second = merge_weights(layers), merge_weights(layers)
    assert first.untyped_storage()._cdata == second.untyped_storage()._cdata and first.shape == second.shape


def test_no_memory_is_added() -> None:
    model = empty_model(SpatialVlaConfig.from_dict(published_config("tiny")), lean=True).to("meta")
    FusedLayers(model)
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in model.parameters()}
    assert sum(storages.values()) == sum(each.numel() * each.itemsize for each in model.parameters())


def test_layers_with_adapters_are_refused(checkpoint) -> None:
    model = add_adapters(load_model(checkpoint, torch.device("cpu"), torch.float32), LoraConfig(2))
    with pytest.raises(ValueError, match="expected plain linear layers"):
        FusedLayers(model)


def test_the_picture_encoder_answers_the_same_with_its_projections_merged(checkpoint) -> None:
    encoder = load_model(checkpoint, torch.device("cpu"), torch.float32).vision_tower
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    before = encoder(pixels)
    encoder.merge_projections()
    torch.testing.assert_close(encoder(pixels), before, rtol=1e-5, atol=1e-5)
