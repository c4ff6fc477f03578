"""LoRA adapters in a folder of their own: saved, merged, loaded, refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from policy_inputs import BRIDGE, arguments
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tolerance import assert_same_but_for_rounding

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.checkpoint_places import find_base
from stvla_ros.policy.commands import MergeArguments, merge, merge_adapter
from stvla_ros.policy.lora import LoraConfig, trainable_parameters
from stvla_ros.policy.spatialvla.adapters import add_adapters, save_adapter
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.policy.spatialvla.loading import load_predictor
from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor

RANK = 4
WEIGHTS = "adapter_model.safetensors"
# From the picture to a score: the encoder (2 layers of 6, and 3 about them), the language model (3 layers of 7), and
# as many again for the adapters beside them.
PRODUCTS = 72


@pytest.fixture(scope="module")
def trained(checkpoint) -> SpatialVlaPredictor:
    """As after training, unmerged: adapters and action embeddings that are not what they began as."""
    policy = load_policy(str(checkpoint))
    model = add_adapters(policy.model, LoraConfig(rank=RANK, alpha=6.0), train_action_embeddings=True)
    generator = torch.Generator().manual_seed(1)
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        head = model.language_model.lm_head.weight[begin : begin + count]
        head.add_(0.05 * torch.randn(head.shape, generator=generator))
    processor = json.loads(json.dumps(policy.processor))
    processor["statistics"][BRIDGE]["action"]["q99"][0] = 0.5
    # Fused layers know nothing of adapters.
    return SpatialVlaPredictor(model, policy.prompt_tokenizer, processor, Accelerations(fused_layers=False))


@pytest.fixture(scope="module")
def adapter(trained, checkpoint, tmp_path_factory) -> Path:
    """The folder; not to be changed."""
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(trained.model, folder, str(checkpoint), trained.processor)
    return folder


@pytest.fixture
def damaged(adapter, tmp_path) -> Path:
    """A copy, to be changed."""
    return shutil.copytree(adapter, tmp_path / "adapter")


def edit_config(folder: Path, **changes) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        load_policy(str(folder))
    assert "\n" not in str(refused.value)
    return str(refused.value)


# --- the same answers -------------------------------------------------------------------------------------------------


def test_loaded_adapter_answers_as_the_unmerged_model(trained, adapter):
    given = arguments()
    loaded, unmerged = load_policy(str(adapter)), trained.predict(**given, return_details=True)
    answer = loaded.predict(**given, return_details=True)
    np.testing.assert_array_equal(answer.tokens, unmerged.tokens)
    assert_same_but_for_rounding(answer.logits, unmerged.logits, PRODUCTS)


def test_adapter_changes_the_answer_of_its_base(predictor, adapter):
    before = predictor.predict(**arguments(), return_details=True).logits
    after = load_policy(str(adapter)).predict(**arguments(), return_details=True).logits
    assert np.abs(after - before).max() > 0.1


def test_merged_checkpoint_answers_as_the_adapter_and_needs_it_no_more(adapter, tmp_path):
    moved = shutil.copytree(adapter, tmp_path / "moved")
    merge_adapter(str(moved), tmp_path / "merged")
    loaded = load_policy(str(moved))
    shutil.rmtree(moved)
    merged = load_policy(str(tmp_path / "merged"))
    expected, answer = (policy.predict(**arguments(), return_details=True) for policy in (loaded, merged))
    np.testing.assert_array_equal(answer.tokens, expected.tokens)
    assert_same_but_for_rounding(answer.logits, expected.logits, PRODUCTS)
    np.testing.assert_array_equal(answer.actions, expected.actions)
    weights = loaded.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in merged.model.state_dict().items())


def test_merged_checkpoint_has_the_published_names(checkpoint, adapter, tmp_path, capsys):
    arguments_ = MergeArguments(str(adapter), str(tmp_path / "merged"), dtype="bfloat16")
    assert merge(arguments_) == 0
    assert str(tmp_path / "merged") in capsys.readouterr().out
    with (
        safe_open(tmp_path / "merged/model.safetensors", "pt") as merged,
        safe_open(checkpoint / "model.safetensors", "pt") as base,
    ):
        assert set(merged.keys()) == set(base.keys())
        assert merged.get_slice("spatial_embed_tokens.weight").get_dtype() == "BF16"


def test_settings_of_the_training_stay_with_the_merged_checkpoint(damaged, tmp_path):
    (damaged / "training.json").write_text('{"inputs": {"traces": "rgb"}}')
    merge_adapter(str(damaged), tmp_path / "merged")
    assert json.loads((tmp_path / "merged/training.json").read_text()) == {"inputs": {"traces": "rgb"}}


def test_bins_and_statistics_of_the_adapter_are_used(trained, adapter):
    loaded = load_policy(str(adapter))
    assert loaded.processor == trained.processor
    assert loaded.statistics[BRIDGE].q99[0] == 0.5


def test_rank_stabilised_scale_is_alpha_over_the_root_of_the_rank(checkpoint, damaged):
    edit_config(damaged, use_rslora=True)
    base, plain = load_policy(str(checkpoint)).model, _weight(damaged)
    edit_config(damaged, use_rslora=False)
    before = base.multi_modal_projector.linear.weight
    # A difference of weights: rounded as the weights are.
    got, expected = plain - before, (_weight(damaged) - before) * RANK**0.5
    atol = 4 * torch.finfo(before.dtype).eps * before.abs().max().item() * RANK**0.5
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)
    assert expected.abs().max() > 100 * atol


def _weight(folder: Path) -> torch.Tensor:
    return load_policy(str(folder)).model.multi_modal_projector.linear.weight


# --- what is in the folder --------------------------------------------------------------------------------------------


def test_peft_itself_reads_the_folder(trained, checkpoint, adapter):
    model = load_policy(str(checkpoint)).model
    names = {r"vision_tower\.vision_model\.": "vision_tower."}
    read = peft.PeftModel.from_pretrained(model, str(adapter), key_mapping=names).base_model.model
    mine, generator = trained.model, torch.Generator().manual_seed(2)

    def random(*shape):
        return torch.rand(*shape, generator=generator)

    pixels, points, hidden, embeddings = random(1, 3, 224, 224), random(1, 256, 12), random(2, 64), random(1, 260, 64)
    tokens, positions = torch.tensor([0, 5000, 8193]), torch.arange(1, 261)[None]
    begin, end = model.config.action_token_begin, model.config.text.vocab_size
    cap = model.config.text.final_logit_softcapping
    # Here the head is peft's wrapper, which has to be called to have its rows replaced.
    scores = cap * torch.tanh(read.language_model.lm_head(hidden)[:, begin:end] / cap)
    compared = [
        (read.image_features(pixels, points), mine.image_features(pixels, points)),
        (read.run_language_model(embeddings, positions, None), mine.run_language_model(embeddings, positions, None)),
        (read.embed_actions(tokens), mine.embed_actions(tokens)),
        (scores, mine.logits(hidden, begin, end)),
    ]
    for got, expected in compared:
        assert_same_but_for_rounding(got.detach(), expected.detach(), PRODUCTS)


def test_tensors_have_the_published_modules_names(checkpoint, adapter):
    with safe_open(checkpoint / "model.safetensors", "pt") as base:
        modules = {name.removesuffix(".weight") for name in base.keys()}
    lora = [name for name in load_file(adapter / WEIGHTS) if ".lora_" in name]
    assert len(lora) == 2 * (7 * 3 + 6 * 2 + 3)  # three layers of Gemma, two of SigLIP, projector, Ego3D head
    assert {name.removeprefix("base_model.model.").split(".lora_")[0] for name in lora} <= modules


def test_base_is_named(checkpoint, adapter):
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(checkpoint.resolve())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", RANK, 6.0)


def test_action_rows_stay_with_the_base_while_they_are_its_own(checkpoint, tmp_path):
    policy = load_policy(str(checkpoint))
    save_adapter(add_adapters(policy.model, LoraConfig(RANK)), tmp_path, str(checkpoint), policy.processor)
    assert all(".lora_" in name for name in load_file(tmp_path / WEIGHTS))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["modules_to_save"] is None and config["trainable_token_indices"] is None


def test_untrained_adapter_leaves_every_weight_as_it_was(checkpoint, tmp_path):
    policy = load_policy(str(checkpoint))
    save_adapter(add_adapters(policy.model, LoraConfig(RANK)), tmp_path, str(checkpoint), policy.processor)
    base, loaded = (load_policy(str(folder)).model.state_dict() for folder in (checkpoint, tmp_path))
    assert all(torch.equal(base[name], loaded[name]) for name in base)


def test_saving_again_replaces_the_earlier_save(checkpoint, tmp_path):
    policy = load_policy(str(checkpoint))
    model = add_adapters(policy.model, LoraConfig(RANK))
    for value in (0.0, 0.5):
        torch.nn.init.constant_(model.multi_modal_projector.linear.lora_B["default"].weight, value)
        save_adapter(model, tmp_path, str(checkpoint), policy.processor)
    files = {file.name for file in tmp_path.iterdir()}
    assert files == {"adapter_config.json", WEIGHTS, "processor_config.json"}
    stored = load_file(tmp_path / WEIGHTS)["base_model.model.multi_modal_projector.linear.lora_B.weight"]
    assert (stored == 0.5).all()


def test_weights_that_would_be_lost_are_not_saved_silently(checkpoint, tmp_path):
    policy = load_policy(str(checkpoint))
    model = add_adapters(policy.model, LoraConfig(RANK))
    model.language_model.model.norm.requires_grad_(True)
    with pytest.raises(ValueError, match="language_model.model.norm.weight"):
        save_adapter(model, tmp_path, str(checkpoint), policy.processor)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_base_that_is_not_there_is_named(damaged):
    edit_config(damaged, base_model_name_or_path="/no/such/checkpoint")
    message = refusal(damaged)
    assert "base_model_name_or_path" in message and "/no/such/checkpoint" in message


def test_base_with_other_weights_is_refused(checkpoint, damaged, tmp_path):
    other = shutil.copytree(checkpoint, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors["multi_modal_projector.linear.weight"] += 1e-3
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    edit_config(damaged, base_model_name_or_path=str(other))
    assert "its weights are others" in refusal(damaged)


def test_base_that_was_only_moved_is_taken(checkpoint, adapter, damaged, tmp_path):
    moved = shutil.copytree(checkpoint, tmp_path / "moved")
    edit_config(damaged, base_model_name_or_path=str(moved))
    given = arguments()
    expected = load_policy(str(adapter)).predict(**given).tokens
    np.testing.assert_array_equal(load_policy(str(damaged)).predict(**given).tokens, expected)


def test_base_of_another_shape_is_refused(damaged):
    def widen(tensors):
        name = "base_model.model.multi_modal_projector.linear.lora_A.weight"
        tensors[name] = torch.zeros(RANK, 99)

    edit_tensors(damaged, widen)
    message = refusal(damaged)
    assert f"({RANK}, 48)" in message and f"({RANK}, 99)" in message and "linear.lora_A" in message


def test_base_that_is_an_adapter_is_refused_with_the_way_out(adapter, damaged):
    edit_config(damaged, base_model_name_or_path=str(adapter))
    assert "stvla model merge" in refusal(damaged)


def test_training_on_an_adapter_is_refused_with_the_way_out(adapter):
    with pytest.raises(InputError, match=f"got an adapter.*stvla model merge --adapter {adapter}"):
        find_base(str(adapter))


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_cut_off_weights_are_refused(damaged, keep):
    file = damaged / WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    assert refusal(damaged).startswith(f"{file}: expected a complete safetensors file")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "processor_config.json"])
def test_missing_file_is_named(damaged, name):
    (damaged / name).unlink()
    assert name in refusal(damaged)


def test_adapter_for_other_modules_is_refused(damaged):
    def rename(tensors):
        tensors["base_model.model.audio_tower.linear.lora_A.weight"] = torch.zeros(RANK, 48)
        tensors["base_model.model.audio_tower.linear.lora_B.weight"] = torch.zeros(64, RANK)

    edit_tensors(damaged, rename)
    assert "linear layers" in refusal(damaged) and "audio_tower.linear" in refusal(damaged)


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("head", [False, True])
def test_the_published_recipes_adapters_of_embeddings_and_head_are_read(checkpoint, tmp_path, head, lean):
    """As SpatialVLA's own fine-tuning saves them with ``lora_target`` linear+emb and linear+emb+h: by peft itself."""
    model = load_policy(str(checkpoint)).model
    begin, count = model.config.action_token_begin, model.config.num_action_tokens
    before = model.spatial_embed_tokens.weight.clone(), model.head(begin, begin + count).clone()
    targets = ["multi_modal_projector.linear", "spatial_embed_tokens", *(["lm_head"] if head else [])]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=6, target_modules=targets))
    generator = torch.Generator().manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    edit_config(tmp_path, base_model_name_or_path=str(checkpoint))
    shutil.copy(checkpoint / "processor_config.json", tmp_path)
    merged = adapted.merge_and_unload()
    loaded = load_predictor(tmp_path, lean=lean).model
    for found, expected in (
        (loaded.spatial_embed_tokens.weight, merged.spatial_embed_tokens.weight),
        (loaded.head(begin, begin + count), merged.head(begin, begin + count)),
    ):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert not torch.equal(loaded.spatial_embed_tokens.weight, before[0])
    assert torch.equal(loaded.head(begin, begin + count), before[1]) != head


def test_half_an_adapted_layer_is_refused(damaged):
    name = "base_model.model.multi_modal_projector.linear.lora_B.weight"
    edit_tensors(damaged, lambda tensors: tensors.pop(name))
    assert "expected multi_modal_projector.linear.lora_B.weight of shape" in refusal(damaged)


def test_numbers_that_are_none_are_refused(damaged):
    name = "base_model.model.multi_modal_projector.linear.lora_B.weight"
    edit_tensors(damaged, lambda tensors: tensors[name].fill_(float("nan")))
    assert "expected finite numbers, multi_modal_projector.linear.lora_B.weight has others" in refusal(damaged)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"use_qalora": True}, "use_qalora"),
        ({"alora_invocation_tokens": [5, 6]}, "alora_invocation_tokens"),
        ({"target_parameters": ["x"]}, "target_parameters"),
        ({"kasa_config": {"a": 1}}, "kasa_config"),
        ({"an_option_of_a_later_peft": True}, "an_option_of_a_later_peft"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"r": 0}, "r and lora_alpha"),
        ({"lora_alpha": None}, "r and lora_alpha"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path"),
        ({"r": 8}, "of shape (8, "),
    ],
)
def test_config_that_cannot_be_followed_is_refused(damaged, changes, named):
    edit_config(damaged, **changes)
    assert named in refusal(damaged)


def test_config_that_is_no_json_is_refused(damaged):
    (damaged / "adapter_config.json").write_text("{")
    assert refusal(damaged).startswith(str(damaged / "adapter_config.json"))


def test_merging_a_checkpoint_is_refused(checkpoint, tmp_path):
    with pytest.raises(InputError, match="expected a file adapter_config.json"):
        merge_adapter(str(checkpoint), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_merging_onto_a_folder_that_is_not_empty_is_refused(adapter, checkpoint):
    with pytest.raises(InputError, match="expected a new or empty folder"):
        merge_adapter(str(adapter), checkpoint)


def test_failed_merge_leaves_nothing(damaged, tmp_path):
    edit_config(damaged, r=8)
    with pytest.raises(InputError, match="of shape"):
        merge_adapter(str(damaged), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
