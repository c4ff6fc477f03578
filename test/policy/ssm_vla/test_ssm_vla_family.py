"""The family: its checkpoints, what trains them, and what cannot be done with them."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lam_scenes import TINY, clip, samples

from stvla_ros.cli import main
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.families import LATENT, family_of, find_family
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.ssm_vla.checkpoint import load_model
from stvla_ros.policy.ssm_vla.training.lam_trainable import LamTrainable
from stvla_ros.policy.ssm_vla.training.options import SsmVlaOptions
from stvla_ros.policy.trainable import Start

CPU = torch.device("cpu")
PLAIN = InputsConfig(traces="none")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lam") / "new"
    find_family("ssm_vla").create(folder, "tiny", 0)
    return folder


def start(base: Path, **changes: Any) -> Start:
    usual: dict[str, Any] = {
        "base": base,
        "base_name": str(base),
        "is_new": True,
        "options": SsmVlaOptions(),
        "objectives": frozenset({LATENT}),
        "inputs": PLAIN,
        "lora": None,
        "actions": np.zeros((0, 7)),
        "episodes": 2,
        "unnorm_key": "stvla",
        "seed": 0,
        "device": CPU,
        "precision": torch.float32,
    }
    return Start(**{**usual, **changes})


def trained(base: Path, steps: int, **changes: Any) -> tuple[LamTrainable, list[dict[str, float]]]:
    made = LamTrainable(start(base, **changes))
    made.use(samples((30,) * 6))
    optimizer = torch.optim.AdamW([each for each in made.module.parameters() if each.requires_grad], lr=2e-3)
    random, told = np.random.default_rng(0), []
    for step in range(steps):
        made.begin_step()
        torch.manual_seed(step)
        losses = made.losses(made.batch(random.integers(0, 180, 16)), [LATENT])
        optimizer.zero_grad()
        losses.objectives[LATENT].backward()
        optimizer.step()
        made.end_step()
        told.append({name: float(each.detach()) for name, each in losses.parts.items()})
    return made, told


def test_its_checkpoint_tells_the_family_and_is_read_back(base: Path) -> None:
    family = family_of(base)
    assert family.name == "ssm_vla" and json.loads((base / "config.json").read_text())["model_type"] == "ssm_vla"
    assert [remark.level for remark in family.check(base)] == ["ok", "note"]
    assert set(family.inspect(base).parts) == {"lam", "policy"} and family.inspect(base).statistics == ("untrained",)
    small = {"config.json", "training.json", "tokenizer.json", "dataset_statistics.json"}
    assert {file.name for file in base.iterdir()} == {"model.safetensors", *small}


def test_a_latent_action_model_is_saved_without_a_policy(base: Path, tmp_path: Path) -> None:
    trained(base, 1)[0].save(tmp_path)
    family = family_of(tmp_path)
    assert set(family.inspect(tmp_path).parts) == {"lam"} and family.statistics(tmp_path) == {}
    first, second = family.check(tmp_path)
    assert "a latent action model, " in first.text and second.text.endswith("no policy is in it")


def test_the_same_seed_gives_the_same_files(base: Path, tmp_path: Path) -> None:
    find_family("ssm_vla").create(tmp_path / "same", "tiny", 0)
    find_family("ssm_vla").create(tmp_path / "other", "tiny", 1)
    one, same, other = ((f / "model.safetensors").read_bytes() for f in (base, tmp_path / "same", tmp_path / "other"))
    assert one == same != other


def test_codes_survive_being_saved(base: Path, tmp_path: Path) -> None:
    made, _ = trained(base, 3)
    made.save(tmp_path)
    made.network.eval()
    before, after = made.network.encode(clip()), load_model(tmp_path, CPU).encode(clip())
    assert torch.equal(before.ids, after.ids) and torch.equal(before.codes, after.codes)


def test_it_is_known_without_torch() -> None:
    program = "import sys; from stvla_ros.policy.families import find_family; f = find_family('ssm_vla'); "
    program += "f.policy, f.options(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers"} & set(loaded)


@pytest.mark.slow
def test_training_lowers_the_loss_and_codes_live(base: Path) -> None:
    _, told = trained(base, 150)
    first, last = told[0], {name: np.mean([each[name] for each in told[-20:]]) for name in told[0]}
    assert last["rgb"] < 0.5 * first["rgb"] and last["depth"] < 0.7 * first["depth"]
    assert last["codes_live"] >= 4 and last["rgb_explained"] > 0.4


def test_without_a_codebook_it_trains_too(base: Path, tmp_path: Path) -> None:
    made, told = trained(base, 3, options=SsmVlaOptions(quantiser="none"))
    assert "commitment" not in told[0] and made.network.config.code_width == 4
    made.save(tmp_path)
    assert load_model(tmp_path, CPU).config.quantiser == "none"


def test_labels_train_a_layer_that_is_not_saved(base: Path, tmp_path: Path) -> None:
    made, told = trained(base, 3, options=SsmVlaOptions(label_share=0.3))
    assert all(np.isfinite(each["motion"]) and each["motion"] > 0 for each in told)
    made.save(tmp_path)
    assert load_model(tmp_path, CPU) is not None


def test_a_frozen_encoder_is_neither_trained_nor_stored(tmp_path: Path) -> None:
    made, _ = trained(_grid(tmp_path / "grid"), 1, options=SsmVlaOptions(encoder="small"))
    assert made.preparation.size == 224
    names = set(made.network.state_dict())
    assert not any("stem" in name or "vision" in name for name in names)
    made.save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved/config.json").read_text())["lam"]
    assert config["encoder_checkpoint"] == "small" and len(config["encoder_fingerprint"]) == 64
    config["encoder_fingerprint"] = "0" * 64
    (tmp_path / "saved/config.json").write_text(json.dumps({"model_type": "ssm_vla", "lam": config}))
    with pytest.raises(InputError, match="expected the weights that the latent action model was trained on"):
        load_model(tmp_path / "saved", CPU)


def _grid(folder: Path) -> Path:
    """A base with as many patches as the shipped policy sees."""
    from stvla_ros.policy.ssm_vla.checkpoint import save_model
    from stvla_ros.policy.ssm_vla.create import random_model

    save_model(random_model(dataclasses.replace(TINY, picture_size=64), 0), folder)
    return folder


def test_a_dinov2_on_the_disk_is_an_encoder(base: Path, tmp_path: Path) -> None:
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    shape = Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8, num_register_tokens=2
    )
    Dinov2WithRegistersModel(shape).save_pretrained(tmp_path / "dino")
    options = SsmVlaOptions(encoder="dinov2", encoder_checkpoint=str(tmp_path / "dino"))
    made, told = trained(base, 2, options=options)
    assert made.network.config.encoder_width == 24 and np.isfinite(told[-1]["rgb"])
    with pytest.raises(InputError, match="expected model_type dinov2"):
        trained(base, 1, options=dataclasses.replace(options, encoder_checkpoint="small"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": InputsConfig()}, "inputs.traces: expected none"),
        ({"inputs": InputsConfig(traces="none", depth="constant")}, "inputs.depth: expected sensor or a network"),
        ({"options": SsmVlaOptions(encoder_checkpoint="small")}, "encoder_checkpoint: expected none for a stem"),
        ({"options": SsmVlaOptions(encoder="small")}, "expected 16 patches a picture"),
        ({"is_new": False, "options": SsmVlaOptions(quantiser="none")}, "quantiser: expected vq, which the checkpoint"),
    ],
)
def test_what_cannot_be_trained_is_one_line(base: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        LamTrainable(start(base, **changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keyframes_s": (0.8, 0.2)}, "keyframes_s: expected 1 to 16 increasing seconds"),
        ({"keyframes_s": (0.0,)}, "keyframes_s: expected 1 to 16 increasing seconds"),
        ({"label_share": 1.5}, "label_share: expected 0 to 1"),
        ({"change_weight": 0.0}, "change_weight: expected 1"),
        ({"depth_weight": -1.0}, "depth_weight: expected 0 or more"),
    ],
)
def test_an_option_out_of_range_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SsmVlaOptions(**options)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("patch", 7, "patch: expected a divisor"),
        ("width", 10**9, "width: expected"),
        ("codes", "many", "codes: expected"),
    ],
)
def test_a_damaged_configuration_is_one_line(base: Path, tmp_path: Path, key: str, value: object, said: str) -> None:
    content = json.loads((base / "config.json").read_text())
    content["lam"][key] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    (remark,) = find_family("ssm_vla").check(tmp_path)
    assert remark.level == "error" and said in remark.text and "config.json" in remark.text


def test_without_a_policy_it_cannot_act(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(base, 1)[0].save(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["sim", "--checkpoint", str(tmp_path)])
    assert ended.value.code == 2
    assert "expected a policy, it is a latent action model alone" in capsys.readouterr().err
    with pytest.raises(InputError, match="expected a policy, it is a latent action model alone"):
        load_policy(str(tmp_path))


def test_activations_are_counted_without_a_trace(base: Path) -> None:
    made = LamTrainable(start(base))
    before = made.network.quantiser.vectors.clone()
    small, large = made.activation_bytes(2), made.activation_bytes(4)
    made.end_step()
    assert 1.8 < large / small < 2.2 and torch.equal(before, made.network.quantiser.vectors)


# --- probe ------------------------------------------------------------------------------------------------------------


def test_a_training_is_probed_for_the_motions_that_its_data_tell(base: Path) -> None:
    made, _ = trained(base, 0)
    figures = made.probe()
    # The square moves along x and y alone: what never varies has no figure.
    assert set(figures) == {f"probe_{axis}_{seconds:g}s" for axis in "xy" for seconds in TINY.keyframes_s}
    assert figures == made.probe() and all(value < 1.0 for value in figures.values())


def test_data_without_poses_are_not_probed(base: Path) -> None:
    made, given = LamTrainable(start(base)), samples((30,) * 6)
    given.states[:] = np.nan
    made.use(given)
    assert made.probe() == {}
