"""The network has the published tensors at every size, by name and shape."""

from collections import Counter

import pytest
import torch
from tiny_st4vla import PUBLISHED, TINY, VLM, config, shapes, tensors

from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.st4vla.checkpoint import load_model
from stvla_ros.policy.st4vla.model import HEAD, St4Vla
from stvla_ros.policy.st4vla.sizes import config_of_size, size_names


@pytest.fixture(scope="module")
def published():
    with without_memory():
        return St4Vla(config_of_size("4b"))


def test_all_1127_tensors_of_the_public_layout_are_there(published):
    found = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    assert found == dict(shapes(PUBLISHED))
    parts = Counter(name.split(".")[0] for name in found)
    assert parts == {
        "qwen_vl_interface": 825,
        "layer_qformer": 15,
        "action_model": 110,
        "dino_encoder": 175,
        "dino_pro": 2,
    }


def test_the_public_layout_takes_no_memory_to_account_for(published):
    assert {tensor.device.type for tensor in published.parameters()} == {"meta"}


def test_numbers_of_the_public_layout(published):
    counts = Counter()
    for name, tensor in published.state_dict().items():
        counts[name.split(".")[0]] += 0 if name == HEAD else tensor.numel()  # the head is the table
    assert counts["layer_qformer"] == 8_710_656  # the papers' 8.7 MB
    assert {part: round(count / 1e6, 1) for part, count in counts.items()} == {
        "qwen_vl_interface": 3754.6,
        "layer_qformer": 8.7,
        "action_model": 86.5,
        "dino_encoder": 22.1,
        "dino_pro": 0.8,
    }


@pytest.mark.parametrize("size", [size for size in size_names() if size != "4b"])
def test_every_size_has_published_names(size, published):
    """Names of layers that a smaller one has not are left out."""
    with without_memory():
        names = set(St4Vla(config_of_size(size)).state_dict())
    assert names < set(published.state_dict())


def test_a_published_state_loads_strictly_and_comes_back_bit_for_bit():
    model = St4Vla(config())
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == dict(shapes(TINY))
    model.load_state_dict(tensors(), strict=True)
    kept = model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in tensors().items())


@pytest.mark.parametrize(
    "name",
    [
        f"{VLM}.model.visual.blocks.0.attn.qkv.weight",
        "dino_encoder.body.blocks.1.attn.qkv.bias",
        "dino_encoder.body.pos_embed",
        "layer_qformer.query_tokens",
        "action_model.net.z_embedder.uncondition",
    ],
)
def test_a_lacking_tensor_is_told(name):
    state = tensors()
    del state[name]
    with pytest.raises(RuntimeError, match="Missing key"):
        St4Vla(config()).load_state_dict(state, strict=True)


@pytest.mark.parametrize("name", ["dino_encoder.body.blocks.7.attn.qkv.weight", "dino_encoder.body.network.a", "a"])
def test_a_tensor_too_many_is_told(name):
    with pytest.raises(RuntimeError, match="Unexpected key"):
        St4Vla(config()).load_state_dict({**tensors(), name: torch.zeros(3)}, strict=True)


def test_a_state_without_the_head_has_the_table_in_its_place():
    state = tensors()
    del state[f"{VLM}.lm_head.weight"]
    model = St4Vla(config())
    model.load_state_dict(state, strict=True)
    assert torch.equal(model.state_dict()[f"{VLM}.lm_head.weight"], tensors()[f"{VLM}.lm_head.weight"])


def test_a_loaded_head_and_its_table_are_one_and_the_same(converted):
    """Trained, both change; and the memory is that of one."""
    model = load_model(converted, torch.device("cpu"), torch.float32)
    vlm = model.qwen_vl_interface.model
    assert vlm.lm_head.weight is vlm.model.language_model.embed_tokens.weight
