import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_checkpoint import ACTION_TOKENS, config, shapes, write_tiny_checkpoint

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoint_places import find_checkpoint
from stvla_ros.policy.checkpoints import INDEX, WEIGHTS
from stvla_ros.policy.spatialvla.checkpoint import empty_model, load_model, published_name, save_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.sizes import published_config

CPU = torch.device("cpu")
NAMES = sorted(name for name, _ in shapes())


def load(folder, dtype=torch.float32):
    return load_model(folder, CPU, dtype)


def refusal(folder):
    """The one line with which a folder is refused."""
    with pytest.raises(InputError) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def tensors_of(folder):
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def assert_same_bits(got, expected):
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor), name


@pytest.fixture(scope="session")
def tensors(checkpoint):
    return load_file(checkpoint / WEIGHTS)


@pytest.fixture(scope="session")
def sharded(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("sharded"), shards=3)


@pytest.fixture
def folder(tmp_path, checkpoint):
    """The checkpoint's small files, to be completed or damaged."""
    for file in checkpoint.iterdir():
        if file.suffix == ".json":
            shutil.copy(file, tmp_path)
    return tmp_path


@pytest.fixture
def folder_with(folder, tensors):
    def write(changed):
        save_file({**tensors, **changed} if isinstance(changed, dict) else changed(dict(tensors)), folder / WEIGHTS)
        return folder

    return write


@pytest.fixture(scope="module")
def published_tensors():
    """The published network by published names, without memory for it."""
    model = empty_model(SpatialVlaConfig.from_dict(published_config("4b")))
    assert all(parameter.is_meta for parameter in model.parameters())
    state = model.state_dict()
    named = {published_name(name): tensor for name, tensor in state.items()}
    assert len(named) == len(state)
    return named


def test_all_published_names_are_the_models(published_tensors, published_weight_index):
    names = json.loads(published_weight_index.read_text())["weight_map"].keys()
    assert len(names) == 1382
    assert names - published_tensors.keys() == set()
    assert published_tensors.keys() - names == set()


def test_published_shapes_take_the_published_bytes(published_tensors, published_weight_index):
    published = json.loads(published_weight_index.read_text())["metadata"]["total_size"]
    assert sum(tensor.numel() for tensor in published_tensors.values()) * torch.bfloat16.itemsize == published


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("language_model.lm_head.weight", (265347, 2304)),
        ("language_model.model.embed_tokens.weight", (265347, 2304)),
        ("language_model.model.layers.25.self_attn.k_proj.weight", (1024, 2304)),
        ("spatial_embed_tokens.weight", (8194, 2304)),
        ("multi_modal_projector.linear.weight", (2304, 1152)),
        ("position_embedding_3d.position_embedding_head.0.weight", (1152, 204)),
        ("vision_tower.vision_model.encoder.layers.26.mlp.fc1.weight", (4304, 1152)),
        ("vision_tower.vision_model.embeddings.position_embedding.weight", (256, 1152)),
        ("vision_zoe_model.backbone.encoder.layer.23.attention.attention.query.weight", (1024, 1024)),
        ("vision_zoe_model.backbone.embeddings.cls_token", (1, 1, 1024)),
    ],
)
def test_published_tensor_has_its_shape(published_tensors, name, shape):
    assert tuple(published_tensors[name].shape) == shape


def test_tiny_checkpoint_has_the_published_kinds_of_names(published_weight_index):
    published = json.loads(published_weight_index.read_text())["weight_map"]
    assert {re.sub(r"\d+", "N", name) for name in NAMES} == {re.sub(r"\d+", "N", name) for name in published}


def test_every_tensor_comes_from_the_file_under_its_name(checkpoint, tensors):
    state = load(checkpoint).state_dict()
    assert_same_bits({published_name(name): tensor for name, tensor in state.items()}, tensors)


def test_loaded_model_is_for_inference(checkpoint):
    model = load(checkpoint)
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


def test_shards_load_as_one_file_does(sharded, tensors):
    state = load(sharded).state_dict()
    assert_same_bits({published_name(name): tensor for name, tensor in state.items()}, tensors)


@pytest.mark.parametrize("max_shard_size", ["5GB", "2MB", 500_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_saved_and_loaded_again_is_bit_identical(checkpoint, tensors, tmp_path, dtype, max_shard_size):
    save_model(load(checkpoint, dtype), tmp_path, max_shard_size)
    assert (tmp_path / INDEX).exists() == (max_shard_size != "5GB")
    expected = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    assert_same_bits(tensors_of(tmp_path), expected)
    again = load(tmp_path, dtype).state_dict()
    assert_same_bits({published_name(name): tensor for name, tensor in again.items()}, expected)


def test_saved_index_counts_its_bytes(checkpoint, tmp_path):
    save_model(load(checkpoint, torch.bfloat16), tmp_path, "1MB")
    index = json.loads((tmp_path / INDEX).read_text())
    assert sorted(index["weight_map"]) == NAMES
    assert index["metadata"]["total_size"] == sum(2 * torch.Size(shape).numel() for _, shape in shapes())


def test_action_rows_of_the_token_embedding_keep_their_own_values(folder_with, tensors, tmp_path):
    name = "language_model.model.embed_tokens.weight"
    rows = tensors[name].clone()
    rows[-ACTION_TOKENS:] = torch.arange(ACTION_TOKENS)[:, None].float()
    save_model(load(folder_with({name: rows})), tmp_path / "saved")
    assert torch.equal(tensors_of(tmp_path / "saved")[name], rows)


def test_saved_config_is_the_one_read_with_the_weights_type(checkpoint, tmp_path):
    save_model(load(checkpoint, torch.bfloat16), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == {**config(), "torch_dtype": "bfloat16"}


@pytest.mark.parametrize(("first", "second"), [("1MB", "5GB"), ("5GB", "1MB"), ("1MB", "3MB")])
def test_save_over_another_checkpoint_leaves_nothing_of_it(checkpoint, tensors, folder, first, second):
    model = load(checkpoint)
    before = torch.nn.Parameter(torch.zeros_like(model.multi_modal_projector.linear.weight), requires_grad=False)
    kept, model.multi_modal_projector.linear.weight = model.multi_modal_projector.linear.weight, before
    save_model(model, folder, first)
    model.multi_modal_projector.linear.weight = kept
    save_model(model, folder, second)
    assert_same_bits(tensors_of(folder), tensors)
    assert torch.equal(load(folder).multi_modal_projector.linear.weight, kept)


def test_model_can_be_saved_where_it_was_loaded_from(folder_with, tensors):
    folder = folder_with({})
    model = load(folder)
    save_model(model, folder)
    assert_same_bits(tensors_of(folder), tensors)
    assert_same_bits({published_name(name): tensor for name, tensor in model.state_dict().items()}, tensors)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_other_floating_types_are_converted(folder_with, tensors, stored):
    folder = folder_with({name: tensor.to(stored) for name, tensor in tensors.items()})
    state = load(folder).state_dict()
    expected = {name: tensor.to(stored).float() for name, tensor in tensors.items()}
    assert_same_bits({published_name(name): tensor for name, tensor in state.items()}, expected)


@examples(quick=4)
@given(missing=st.sets(st.sampled_from(NAMES), min_size=1, max_size=5))
def test_missing_tensors_are_listed(folder_with, missing):
    message = refusal(folder_with(lambda all_: {name: all_[name] for name in all_ if name not in missing}))
    assert f"{len(missing)} missing: {', '.join(sorted(missing))}" in message


def test_left_over_tensors_are_listed(folder_with):
    message = refusal(folder_with({"vision_tower.vision_model.head.probe": torch.zeros(3), "lora_A": torch.zeros(1)}))
    assert "2 not part of the model: lora_A, vision_tower.vision_model.head.probe" in message


def test_tensor_of_another_shape_is_listed_with_both_shapes(folder_with):
    message = refusal(folder_with({"spatial_embed_tokens.weight": torch.zeros(8192, 64)}))
    assert "1 of another shape: spatial_embed_tokens.weight (expected (8194, 64), got (8192, 64))" in message


def test_all_kinds_of_wrong_tensors_are_in_one_line(folder_with):
    name = "multi_modal_projector.linear.bias"
    message = refusal(folder_with(lambda all_: {**{k: v for k, v in all_.items() if k != name}, "x": torch.zeros(1)}))
    assert f"1 missing: {name}; 1 not part of the model: x" in message


def test_long_list_of_wrong_tensors_is_cut(folder_with):
    message = refusal(folder_with(lambda all_: {"x": torch.zeros(1)}))
    assert f"{len(NAMES)} missing: " in message and f"and {len(NAMES) - 12} more" in message


@pytest.mark.parametrize("stored", [torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn], ids=str)
def test_quantised_tensor_is_refused_by_name(folder_with, tensors, stored):
    name = "multi_modal_projector.linear.weight"
    message = refusal(folder_with({name: tensors[name].to(stored)}))
    assert f"expected {name} as one of F64, F32, F16, BF16" in message


@pytest.mark.parametrize("share", [0.0, 0.0000005, 0.0001, 0.002, 0.5, 0.999])
def test_truncated_file_is_refused_by_name(folder, checkpoint, share):
    content = (checkpoint / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: int(share * len(content))])
    assert refusal(folder).startswith(f"{folder / WEIGHTS}: expected a complete safetensors file")


@pytest.mark.parametrize("content", [b"garbage" * 100, b"\xff" * 64, b"PK\x03\x04" + b"\0" * 64, b"\0" * 64])
def test_file_of_something_else_is_refused_by_name(folder, content):
    (folder / WEIGHTS).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / WEIGHTS}: expected a complete safetensors file")


@examples(quick=15)
@given(position=st.integers(0, 2000), value=st.integers(0, 255))
def test_damaged_header_is_one_line_or_harmless(folder, checkpoint, position, value):
    content = bytearray((checkpoint / WEIGHTS).read_bytes())
    content[position] = value
    (folder / WEIGHTS).write_bytes(content)
    try:
        load(folder)
    except InputError as error:
        assert "\n" not in str(error)


def test_missing_shard_is_named(tmp_path, sharded):
    shutil.copytree(sharded, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert refusal(tmp_path).endswith("missing: model-00002-of-00003.safetensors")


@pytest.mark.parametrize(
    "index",
    [
        "", "no JSON", "[]", "null", "{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": null}}', '{"weight_map": {"a": "../model.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}', '{"weight_map": {"a": "pytorch_model.bin"}}', "[" * 100_000,
        '{"weight_map": {"a": "' + "9" * 5000 + '.safetensors"}}',
    ],
    ids=lambda index: index[:40],
)  # fmt: skip
def test_unusable_index_is_refused_by_name(folder, checkpoint, index):
    shutil.copy(checkpoint / WEIGHTS, folder / "pytorch_model.bin")
    (folder / INDEX).write_text(index)
    assert refusal(folder).startswith(f"{folder / INDEX}: expected ")


def test_index_in_another_encoding_is_refused_by_name(folder):
    (folder / INDEX).write_bytes(b"\xff\xfe{}")
    assert refusal(folder).startswith(f"{folder / INDEX}: expected JSON")


def test_pickled_weights_are_never_read(folder, tensors):
    # Reading it would leave a trace: the pickle writes a file.
    class Trace:
        def __reduce__(self):
            return Path.touch, (folder / "was_read",)

    torch.save({**tensors, "trace": Trace()}, folder / "pytorch_model.bin")
    message = refusal(folder)
    assert message == f"checkpoint {folder}: expected {WEIGHTS} or {INDEX}, there is neither"
    (folder / "pytorch_model.bin").rename(folder / WEIGHTS)
    assert "expected a complete safetensors file" in refusal(folder)
    assert not (folder / "was_read").exists()


def test_folder_that_is_no_checkpoint_is_refused(tmp_path):
    assert refusal(tmp_path) == f"checkpoint {tmp_path}: expected a file config.json, there is none"


def test_local_folder_is_found(checkpoint, monkeypatch):
    assert find_checkpoint(str(checkpoint)) == checkpoint
    monkeypatch.chdir(checkpoint.parent)
    assert find_checkpoint(checkpoint.name) == Path(checkpoint.name)
    monkeypatch.setenv("HOME", str(checkpoint.parent))
    assert find_checkpoint(f"~/{checkpoint.name}") == checkpoint


@pytest.mark.parametrize(
    "name", ["", ".", "..", "no spaces allowed", "/nowhere/at/all", "./nowhere/x", "../x", "~no_such_user/x",
             "a/b/c", "https://host/x", "\0", "a" * 5000, "a\nb", "a/b\n"],
    ids=lambda name: repr(name[:20]),
)  # fmt: skip
def test_what_is_neither_folder_nor_hub_id_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"\Acheckpoint[^\n]*expected [^\n]*\Z"):
        load(find_checkpoint(name))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The hub's client with a cache of its own and without a network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_hub_id_that_is_not_to_be_had_tells_how_to_get_it(hub_cache):
    with pytest.raises(InputError, match=r"\Acheckpoint some-org/some-model: [^\n]*hf download some-org/some-model"):
        find_checkpoint("some-org/some-model")


def test_hub_id_that_was_downloaded_before_is_found_without_a_network(hub_cache, checkpoint):
    repository = hub_cache / "models--some-org--some-model"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / revision).symlink_to(checkpoint)
    assert find_checkpoint("some-org/some-model").samefile(checkpoint)


def test_after_an_empty_network_others_are_initialised_as_ever():
    code = """
import torch
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import published_config
config = SpatialVlaConfig.from_dict(published_config("tiny"))
def digest():
    torch.manual_seed(0)
    return float(sum(each.double().abs().sum() for each in SpatialVla(config).parameters()))
empty_model(config)
after = digest()
assert 0 < after < 1e9, after
print(after)
"""
    digests = [code, code.replace("empty_model(config)\n", "")]
    done = [subprocess.run([sys.executable, "-c", each], capture_output=True, text=True) for each in digests]
    assert done[0].stdout == done[1].stdout != "", done[0].stderr
