"""Which layers get adapters, and that these and nothing else can be trained."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.policy.lora import LoraConfig, count_by_part, trainable_parameters
from stvla_ros.policy.spatialvla.adapters import TARGET_MODULES, add_adapters
from stvla_ros.policy.spatialvla.checkpoint import empty_model, load_model, published_name
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import published_config

RANK = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    create_checkpoint(folder, "tiny")
    return folder


@pytest.fixture
def model(checkpoint: Path) -> SpatialVla:
    return load(checkpoint)


def load(checkpoint: Path, dtype: torch.dtype = torch.float32) -> SpatialVla:
    return load_model(checkpoint, torch.device("cpu"), dtype)


def scores(model: SpatialVla) -> torch.Tensor:
    """Of the action tokens, for random inputs that are always the same."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(1, 3, 224, 224, generator=generator)
    points = torch.rand(1, 256, 12, generator=generator)
    prompt = torch.cat([torch.zeros(1, 256, dtype=torch.int64), torch.tensor([[2, 70, 71, 72]])], dim=1)
    embeddings = model.embed_prompt(prompt, model.image_features(pixels, points))
    action = model.embed_actions(torch.tensor([[5]]))
    embeddings = torch.cat([embeddings, action], dim=1)
    hidden = model.run_language_model(embeddings, torch.arange(1, embeddings.shape[1] + 1)[None], None)
    return model.logits(hidden[:, -1], model.config.action_token_begin)


def linear_layers(model: nn.Module) -> set[str]:
    """Those that are to have adapters, stated without the pattern under test."""
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and not name.startswith("vision_zoe_model")
        and name != "language_model.lm_head"
    }


def test_every_linear_layer_but_zoedepths_and_the_head_has_an_adapter(model: SpatialVla) -> None:
    expected = linear_layers(model)
    add_adapters(model, LoraConfig(RANK))
    assert {name.split(".lora_")[0] for name in trainable_parameters(model)} == expected


def test_published_model_gets_the_published_recipes_layers_and_parameters() -> None:
    model = empty_model(SpatialVlaConfig.from_dict(published_config("4b")))
    layers = {name: m for name, m in model.named_modules() if re.fullmatch(TARGET_MODULES, name)}
    assert set(layers) == linear_layers(model)
    # 26 layers of Gemma with 7, 27 of SigLIP with 6, the projector, the Ego3D head's two; about 59 M at rank 32.
    assert len(layers) == 26 * 7 + 27 * 6 + 1 + 2
    assert round(sum(32 * (m.in_features + m.out_features) for m in layers.values()) / 1e6) == 59


def test_pattern_fits_the_published_module_names_too(model: SpatialVla) -> None:
    names = {published_name(f"{name}.weight").removesuffix(".weight"): name for name, _ in model.named_modules()}
    assert {names[name] for name in names if re.fullmatch(TARGET_MODULES, name)} == linear_layers(model)


def test_adapters_change_nothing_at_first(model: SpatialVla) -> None:
    with torch.no_grad():
        before = scores(model)
        assert torch.equal(scores(add_adapters(model, LoraConfig(RANK))), before)


def test_same_seed_gives_the_same_adapters_and_leaves_torchs_own_alone(checkpoint: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made = [trainable_parameters(add_adapters(load(checkpoint), LoraConfig(RANK), seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not any(torch.equal(made[0][name], made[2][name]) for name in made[0] if ".lora_A." in name)


def test_initial_values_are_the_recipes(model: SpatialVla) -> None:
    parameters = trainable_parameters(add_adapters(model, LoraConfig(rank=32)))
    a = torch.cat([parameter.flatten() for name, parameter in parameters.items() if ".lora_A." in name])
    assert a.std().item() == pytest.approx(1 / 32, rel=0.02) and abs(a.mean().item()) < 1e-3
    assert not any(parameter.any() for name, parameter in parameters.items() if ".lora_B." in name)


def test_training_moves_every_adapter_and_nothing_else(model: SpatialVla) -> None:
    add_adapters(model, LoraConfig(RANK))
    trained = trainable_parameters(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(scores(model), torch.tensor([4321]))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1
    after = model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(trained)


@pytest.mark.usefixtures("bfloat16_attention")
def test_adapters_on_bfloat16_weights_are_float32_and_get_gradients(checkpoint: Path) -> None:
    model = add_adapters(load(checkpoint, torch.bfloat16), LoraConfig(RANK))
    scores(model).square().mean().backward()
    for name, parameter in trainable_parameters(model).items():
        assert parameter.dtype is torch.float32
        # While B is zero, nothing reaches A.
        assert parameter.grad.any() == (".lora_B." in name), name


def test_action_embeddings_are_trained_when_asked_for(model: SpatialVla) -> None:
    add_adapters(model, LoraConfig(RANK), train_action_embeddings=True)
    scores(model).square().mean().backward()
    whole = {name for name in trainable_parameters(model) if ".lora_" not in name}
    assert whole == {"spatial_embed_tokens.weight"}
    assert model.spatial_embed_tokens.weight.grad.any()


def test_count_by_part_tells_trainable_and_all(model: SpatialVla) -> None:
    layers = {name: m for name, m in model.named_modules() if name in linear_layers(model)}
    sizes = {part: sum(p.numel() for p in child.parameters()) for part, child in model.named_children()}
    add_adapters(model, LoraConfig(RANK))
    counts = count_by_part(model)
    assert set(counts) == set(sizes)
    for part, (trained, whole) in counts.items():
        added = sum(
            RANK * (m.in_features + m.out_features) for name, m in layers.items() if name.startswith(f"{part}.")
        )
        assert (trained, whole) == (added, sizes[part] + added), part
    assert counts["vision_zoe_model"][0] == 0 < counts["language_model"][0]


def test_second_set_of_adapters_is_refused(model: SpatialVla) -> None:
    add_adapters(model, LoraConfig(RANK))
    with pytest.raises(InputError, match="without adapters"):
        add_adapters(model, LoraConfig(RANK))


@pytest.mark.parametrize("config", [LoraConfig(alpha=0.0), LoraConfig(alpha=float("nan")), LoraConfig(dropout=1.0)])
def test_numbers_out_of_range_are_refused(model: SpatialVla, config: LoraConfig) -> None:
    with pytest.raises(InputError, match="^lora: expected alpha above 0 and dropout 0 to below 1"):
        add_adapters(model, config)
