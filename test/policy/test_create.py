"""New checkpoints: what is written, that it works, and what is refused."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoint
import torch
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoTokenizer

from stvla_ros.cli import main
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.checkpoints import new_folder
from stvla_ros.policy.spatialvla.checkpoint import empty_model, published_name
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import count_parameters, create_checkpoint
from stvla_ros.policy.spatialvla.sizes import published_config, size_names
from stvla_ros.policy.untrained import UNTRAINED_KEY

INSTRUCTION = "put the spoon on the towel"
PUBLISHED_FILES = {
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
# model.safetensors.index.json of IPEC-COMMUNITY/spatialvla-4b-mix-224-pt: bytes of all bfloat16 tensors, and how many.
PUBLISHED_BYTES, PUBLISHED_TENSORS = 8055709462, 1382


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("created") / "tiny"
    create_checkpoint(directory, "tiny", seed=7)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def names(size: str) -> set[str]:
    model = empty_model(SpatialVlaConfig.from_dict(published_config(size)))
    return {published_name(name) for name in model.state_dict()}


def counts(size: str) -> dict[str, int]:
    return count_parameters(SpatialVlaConfig.from_dict(published_config(size)))


def without_numbers(names: set[str]) -> set[str]:
    return {".".join("N" if part.isdigit() else part for part in name.split(".")) for name in names}


def test_a_new_checkpoint_has_the_published_files(tiny: Path) -> None:
    assert set(contents(tiny)) == PUBLISHED_FILES


@pytest.mark.parametrize("with_depth", [True, False])
def test_a_new_checkpoint_gives_a_valid_chunk(tiny: Path, with_depth: bool) -> None:
    policy = load_policy(tiny)
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    depth = np.full((48, 64), 0.7, np.float32) if with_depth else None
    prediction = policy.predict(rgb, INSTRUCTION, depth, return_details=True)
    assert prediction.tokens.shape == (4, 3)
    assert prediction.actions.shape == (4, 7)
    assert np.isfinite(prediction.logits).all()
    assert ((prediction.depth > 0) & (prediction.depth < 10)).all()


def test_an_untrained_model_moves_gently_whatever_it_chooses(tiny: Path) -> None:
    policy = load_policy(tiny)
    (translations, rotations, grippers) = policy.action_tokenizer.legal_ranges
    most = max(end - first for first, end in policy.action_tokenizer.legal_ranges)
    every = np.stack([first + np.arange(most) % (end - first) for first, end in (translations, rotations, grippers)], 1)
    actions = policy.statistics[UNTRAINED_KEY].unnormalize(policy.action_tokenizer.decode(every))
    assert 0.01 < np.abs(actions[:, :3]).max() <= 0.02
    assert 0.05 < np.abs(actions[:, 3:6]).max() <= 0.1
    assert set(actions[:, 6]) == {0.0, 1.0}


def test_the_weights_are_random_as_the_parts_initialise_them(tiny: Path) -> None:
    expected = {
        "language_model.model.embed_tokens.weight": 0.02,
        "language_model.lm_head.weight": 0.02,
        "spatial_embed_tokens.weight": 0.02,
        "multi_modal_projector.linear.weight": 0.02,
        # Xavier with gain 0.01, as the reference: uniform in ±a, standard deviation a / sqrt(3).
        "position_embedding_3d.position_embedding_head.0.weight": 0.01 * math.sqrt(2 / (204 + 64)),
    }
    with safe_open(tiny / "model.safetensors", framework="pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"BF16"}
        for name, std in expected.items():
            assert tensors.get_tensor(name).float().std().item() == pytest.approx(std, rel=0.1)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_weights(tiny: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("same", 7), ("other", 8)):
        create_checkpoint(tmp_path / name, "tiny", seed)
    first, same, other = contents(tiny), contents(tmp_path / "same"), contents(tmp_path / "other")
    assert same == first
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32


def test_large_weights_are_sharded_and_load_again(tiny: Path, tmp_path: Path) -> None:
    create_checkpoint(tmp_path / "sharded", "tiny", seed=7, max_shard_size="2MB")
    assert "model.safetensors.index.json" in contents(tmp_path / "sharded")
    whole, sharded = (load_policy(directory).model.state_dict() for directory in (tiny, tmp_path / "sharded"))
    assert whole.keys() == sharded.keys()
    assert all(torch.equal(whole[name], sharded[name]) for name in whole)


def test_transformers_own_classes_read_the_small_files(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    prompt = load_policy(tiny).prompt_tokenizer.encode(INSTRUCTION)
    text = "<image>" * 256 + "<bos>" + INSTRUCTION + "\n"
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == prompt.tolist()
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    assert tokenizer.convert_tokens_to_ids("<ACTION00000>") == published_config("tiny")["action_token_begin_idx"]
    white = np.full((30, 40, 3), 255, np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tiny)(white, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    np.testing.assert_allclose(pixels, 1.0, atol=1e-6)


def test_the_action_tokens_end_the_vocabulary_and_follow_the_image_token() -> None:
    for size in size_names():
        config = published_config(size)
        assert config["action_token_begin_idx"] == config["image_token_index"] + 1
        assert config["text_config"]["vocab_size"] == config["action_token_begin_idx"] + 8194
    assert published_config("4b")["image_token_index"] == 257152


def test_the_largest_size_is_the_published_model_to_the_byte() -> None:
    assert len(names("4b")) == PUBLISHED_TENSORS
    assert 2 * sum(counts("4b").values()) == PUBLISHED_BYTES


@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_smaller_sizes_have_the_published_tensor_names(size: str) -> None:
    assert without_numbers(names(size)) == without_numbers(names("4b"))


def test_the_written_names_are_those_of_the_test_checkpoint(tiny: Path) -> None:
    with safe_open(tiny / "model.safetensors", framework="pt") as tensors:
        created = set(tensors.keys())
    assert without_numbers(created) == without_numbers({name for name, _ in tiny_checkpoint.shapes()})


def test_the_small_size_fits_into_20_megabytes(tmp_path: Path) -> None:
    create_checkpoint(tmp_path / "small", "small")
    assert sum(len(content) for content in contents(tmp_path / "small").values()) < 20e6
    assert 9e6 < sum(counts("small").values()) < 10e6


@pytest.mark.slow
def test_the_medium_size_is_written_and_gives_a_valid_chunk(tmp_path: Path) -> None:
    create_checkpoint(tmp_path / "medium", "medium")
    policy = load_policy(tmp_path / "medium", dtype="bfloat16")
    prediction = policy.predict(np.zeros((48, 64, 3), np.uint8), INSTRUCTION, np.ones((48, 64), np.float32))
    assert prediction.tokens.shape == (4, 3)


def test_an_unknown_size_lists_the_sizes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^size: expected one of tiny, small, medium, 4b, got 'huge'$"):
        create_checkpoint(tmp_path / "new", "huge")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(InputError, match=f"^seed: expected a whole number from 0 to {2**63 - 1}, got {seed}$"):
        create_checkpoint(tmp_path / "new", "tiny", seed)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    create_checkpoint(tmp_path / "new", "tiny")
    assert set(contents(tmp_path / "new")) == PUBLISHED_FILES
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_already_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine"
    kept = target
    if kind == "folder":
        target.mkdir()
        kept = target / "notes.txt"
    kept.write_text("keep me")
    with pytest.raises(InputError, match=f"^output {target}: expected a new or empty folder, it is there already$"):
        create_checkpoint(target, "tiny")
    assert kept.read_text() == "keep me"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_path_through_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"^output {tmp_path}/file/new: cannot be written \\(.*{tmp_path}/file"):
        create_checkpoint(tmp_path / "file" / "new", "tiny")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files fails in the middle of writing, as a disk that fills up does.
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from stvla_ros.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"main(['model', 'create', '--size', 'tiny', '--output', {str(tmp_path / 'new')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: output {tmp_path / 'new'}: cannot be written (")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_the_disk_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/new: expected 1000000000.00 GB of free disk, there are [0-9.]+ GB$"):
        with new_folder(tmp_path / "new", 10**18):
            pytest.fail("a folder that cannot be filled was made")
    assert not list(tmp_path.iterdir())


def test_a_killed_run_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stvla_ros.cli", "model", "create", "--size", "medium", "--output"]
    target = tmp_path / "new"
    running = subprocess.Popen([*command, target], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert [file.name for file in tmp_path.iterdir()] == [f".new-{running.pid}"]
    create_checkpoint(target, "tiny")
    assert set(contents(target)) == PUBLISHED_FILES


def test_the_command_makes_a_checkpoint_and_reports_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model", "create", "--size", "tiny", "--seed", "7", "--output", str(tmp_path / "new")])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*sorted(counts("tiny")), "all"]
    total = sum(counts("tiny").values()) / 1e6
    assert lines[-1].split()[1] == f"{total:.2f}"
    assert lines[-1].endswith(f"MB in {tmp_path / 'new'}")
    assert json.loads((tmp_path / "new" / "config.json").read_text())["model_type"] == "spatialvla"


@pytest.mark.parametrize(
    "arguments, error",
    [
        (["--size", "huge"], "error: size: expected one of tiny, small, medium, 4b, got 'huge'"),
        (["--size", "tiny", "--seed", "-1"], f"error: seed: expected a whole number from 0 to {2**63 - 1}, got -1"),
    ],
)
def test_the_command_ends_a_bad_argument_with_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model", "create", *arguments, "--output", str(tmp_path / "new")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == error + "\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments, code", [(["model"], 2), (["model", "--help"], 0)])
def test_the_model_group_tells_its_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    assert "  model create  " in capsys.readouterr().out


def test_an_unknown_command_of_the_model_group_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model", "destroy"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: stvla model destroy: no such command; did you mean stvla model ")
