"""That the comparison with the published code's numbers is tight: errors planted in the network must show in it."""

import pytest
import torch
from st4vla_answers import GOLDEN, difference, inputs, tiny_model
from torch.nn import functional as F
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings

from stvla_ros.policy.st4vla import diffusion, dit, encoder_inputs, sampler

# Ten times what is let through.
SEEN = 1e-3


@pytest.fixture(scope="module")
def network():
    return tiny_model()


def features_differ(network) -> float:
    return difference(network.features(**inputs("one")), GOLDEN["one/features"])


def noise_differs(network) -> float:
    given = [torch.from_numpy(GOLDEN[f"dit/{name}"]) for name in ("actions", "times", "condition")]
    return difference(network.noise(*given), GOLDEN["dit/noise"])


def chunk_differs(network) -> float:
    condition, noise = torch.from_numpy(GOLDEN["one/features"]), torch.from_numpy(GOLDEN["noise"][:1])
    return difference(network.sample(condition, noise, 10, 1.5)[0], GOLDEN["sampled/10/1.5"])


def test_positions_of_one_dimension_show(network, monkeypatch):
    inner = network.qwen_vl_interface.model.model
    monkeypatch.setattr(inner, "compute_3d_position_ids", lambda **_: None)
    assert features_differ(network) > SEEN


def test_positions_resized_to_the_size_show(network, monkeypatch):
    embeddings = network.dino_encoder.body.network.embeddings
    monkeypatch.setattr(
        type(embeddings), "interpolate_pos_encoding", Dinov2Embeddings.interpolate_pos_encoding, raising=True
    )
    assert difference(network.dino_encoder(inputs("one")["dino_pixels"])[:, ::9], GOLDEN["one/dino"]) > SEEN
    assert features_differ(network) > SEEN


def test_patches_in_the_order_of_rows_show(network, monkeypatch):
    def by_rows(stacked):
        right, grid = encoder_inputs.patches(stacked)
        return right.view(8, 8, 2, 2, -1).permute(0, 2, 1, 3, 4).reshape(right.shape), grid

    given = inputs("one")
    given["pixel_values"], _ = by_rows(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)))
    right, _ = encoder_inputs.patches(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)))
    same = network.features(**{**given, "pixel_values": right})
    assert difference(network.features(**given), same) > SEEN


def test_normalised_keys_and_values_show(network, monkeypatch):
    block = network.layer_qformer.layers[0]
    forward = type(block).forward
    monkeypatch.setattr(
        block, "forward", lambda queries, seen, hidden: forward(block, queries, block.norm1(seen), hidden)
    )
    assert features_differ(network) > SEEN


def test_a_state_too_early_shows(network, monkeypatch):
    states = network.language_states
    monkeypatch.setattr(network, "language_states", lambda *given, **named: states(*given, **named)[::-1])
    assert features_differ(network) > SEEN


def test_pictures_before_words_show(network, monkeypatch):
    """The order of what the queries look at does not matter to them; which picture is whose does."""
    seen = network.dino_encoder.forward
    monkeypatch.setattr(network.dino_encoder, "forward", lambda pixels: seen(pixels.flip(0)))
    given = inputs("unequal")
    assert difference(network.features(**given)[1], GOLDEN["unequal/features"][1]) > SEEN


def test_an_exact_gelu_in_the_diffusion_transformer_shows(network, monkeypatch):
    gelu = F.gelu
    monkeypatch.setattr(dit.F, "gelu", lambda values, approximate: gelu(values))
    assert noise_differs(network) > 1e-4


def test_sines_before_cosines_show(network, monkeypatch):
    first = network.action_model.net.t_embedder.mlp[0]
    forward = first.forward
    monkeypatch.setattr(first, "forward", lambda values: forward(values.roll(128, dims=1)))
    assert noise_differs(network) > SEEN


def test_a_time_of_another_unit_shows(network, monkeypatch):
    embedder = network.action_model.net.t_embedder
    forward = type(embedder).forward
    monkeypatch.setattr(embedder, "forward", lambda times: forward(embedder, 10 * times))
    assert noise_differs(network) > SEEN


def test_a_norm_with_another_epsilon_shows(network, monkeypatch):
    monkeypatch.setattr(dit, "_norm", lambda tokens: F.layer_norm(tokens, tokens.shape[-1:], eps=1e-2))
    assert noise_differs(network) > SEEN


def test_a_dropped_condition_after_the_linear_layer_shows(network, monkeypatch):
    embedder = network.action_model.net.z_embedder
    forward, free = type(embedder).forward, embedder.uncondition

    def wrong(condition, dropped=None):
        embedded = forward(embedder, condition, dropped)
        return torch.where((condition == free).all(dim=(1, 2), keepdim=True), free, embedded)

    monkeypatch.setattr(embedder, "forward", wrong)
    assert chunk_differs(network) > SEEN


def test_guidance_from_the_other_side_shows(network):
    condition, noise = torch.from_numpy(GOLDEN["one/features"]), torch.from_numpy(GOLDEN["noise"][:1])
    assert difference(network.sample(condition, noise, 10, 1.4)[0], GOLDEN["sampled/10/1.5"]) > SEEN


def test_times_from_the_noisiest_on_show(network, monkeypatch):
    monkeypatch.setattr(diffusion, "step_times", lambda steps: tuple(range(99, 0, -10)))
    assert chunk_differs(network) > SEEN


def test_clipped_actions_in_between_show(network, monkeypatch):
    def clipped(noise, steps, predict):
        return diffusion.denoise(noise, steps, predict).clamp(-1, 1)

    monkeypatch.setattr(sampler, "denoise", clipped)
    assert chunk_differs(network) > SEEN
