"""The policy's training: batches, losses, what reaches what, and files."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lam_scenes import TINY
from policy_scenes import INSTRUCTION, awaken, taught

from stvla_ros.errors import InputError
from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config_sections import AugmentationConfig
from stvla_ros.policy.families import ACTIONS, LATENT, find_family
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.ssm_vla.checkpoint import load_model, load_policy_model
from stvla_ros.policy.ssm_vla.create import random_model
from stvla_ros.policy.ssm_vla.training.options import CODES, VISION, SsmVlaOptions
from stvla_ros.policy.ssm_vla.training.policy_losses import flow_loss
from stvla_ros.policy.ssm_vla.training.policy_trainable import SsmVlaTrainable
from stvla_ros.policy.statistics_file import read_run_statistics
from stvla_ros.policy.trainable import Start

CPU = torch.device("cpu")
ALL = frozenset({ACTIONS, VISION, CODES})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latent action model without a policy."""
    from stvla_ros.policy.ssm_vla.checkpoint import save_model

    folder = tmp_path_factory.mktemp("lam") / "base"
    save_model(random_model(TINY, 0), folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A latent action model with its policy."""
    folder = tmp_path_factory.mktemp("whole") / "new"
    find_family("ssm_vla").create(folder, "tiny", 0)
    return folder


def start(base: Path, **changes: Any) -> Start:
    usual: dict[str, Any] = {
        "base": base,
        "base_name": str(base),
        "is_new": False,
        "options": SsmVlaOptions(policy_size="tiny"),
        "objectives": ALL,
        "inputs": InputsConfig(traces="none", resize="area"),
        "lora": None,
        "actions": taught().actions,
        "episodes": 4,
        "unnorm_key": "stvla",
        "seed": 0,
        "device": CPU,
        "precision": torch.float32,
    }
    return Start(**{**usual, **changes})


def ready(base: Path, unlabelled: int = 0, **changes: Any) -> SsmVlaTrainable:
    made = SsmVlaTrainable(start(base, **changes))
    made.use(taught(unlabelled=unlabelled))
    return made


def gradients(made: SsmVlaTrainable, objective: str, indices: np.ndarray) -> dict[str, float]:
    """The largest gradient of each part of the network."""
    awaken(made.network)
    made.module.zero_grad()
    torch.manual_seed(0)
    made.losses(made.batch(indices), {objective}).objectives[objective].backward()
    found: dict[str, float] = {}
    for name, each in made.network.named_parameters():
        part = name.split(".")[0]
        found[part] = max(found.get(part, 0.0), 0.0 if each.grad is None else float(each.grad.abs().max()))
    return found


def test_a_batch_has_what_is_now_what_was_and_what_comes(base: Path) -> None:
    made, given = ready(base), taught()
    batch = made.batch(np.array([7, 31]))  # 5 a second: a second before are 5 frames; the other is at its start
    wanted = given.prepared["pictures"][[2, 30]]
    assert torch.equal(batch.before.rgb, torch.from_numpy(wanted).permute(0, 3, 1, 2).float() / 255.0)
    assert torch.equal(
        batch.clip.frame(2).rgb[0], torch.from_numpy(given.prepared["pictures"][11]).permute(2, 0, 1) / 255.0
    )
    assert made._words.encode(INSTRUCTION).tolist() == batch.words[0].tolist() and batch.spoken.all()
    assert batch.valid.all() and batch.actions.shape == (2, 8, 7)
    assert set(batch.actions[..., 6].unique().tolist()) <= {-1.0, 1.0} and batch.actions.abs().max() <= 1.0


def test_actions_past_the_end_and_unknown_ones_do_not_count(base: Path) -> None:
    made = ready(base, unlabelled=1)
    batch = made.batch(np.array([27, 100]))
    assert batch.valid.tolist() == [[True] * 3 + [False] * 5, [False] * 8]
    assert batch.spoken.sum(dim=1).tolist() == [len(made._words.encode(INSTRUCTION)), 1]


def test_one_change_moves_what_was_as_it_moves_what_comes(base: Path) -> None:
    made, indices = ready(base), np.arange(20, 26)
    drawn = DrawnAugmentation(AugmentationConfig(shift=40), len(indices), np.random.default_rng(3))
    plain, moved = made.batch(indices), made.batch(indices, drawn)
    shift = (moved.before.intrinsics - plain.before.intrinsics)[:, :2, 2]
    assert shift.abs().max() > 0
    assert torch.equal(shift, (moved.clip.frame(0).intrinsics - plain.clip.frame(0).intrinsics)[:, :2, 2])


@pytest.mark.parametrize("objective", sorted(ALL))
def test_each_objective_teaches_its_own_part(base: Path, objective: str) -> None:
    found = gradients(ready(base), objective, np.arange(8))
    heads = {ACTIONS: "flow", VISION: "picture", CODES: "codes"}
    assert {part for part in heads.values() if found[part] > 0} == {heads[objective]}
    assert found["blocks"] > 0 and found["seen"] > 0 and found["word_table"] > 0


def test_actions_teach_what_the_other_queries_think(base: Path) -> None:
    found = gradients(ready(base), ACTIONS, np.arange(8))
    assert found["vision_queries"] > 0 and found["latent_queries"] > 0
    assert gradients(ready(base), VISION, np.arange(8))["latent_queries"] == 0
    assert gradients(ready(base), CODES, np.arange(8))["action_queries"] == 0


def test_clips_without_actions_teach_the_picture_and_the_codes_alone(base: Path) -> None:
    clips = np.arange(92, 100)
    made = ready(base, unlabelled=1)
    assert set(gradients(made, ACTIONS, clips).values()) == {0.0}
    assert gradients(made, VISION, clips)["blocks"] > 0 and gradients(made, CODES, clips)["blocks"] > 0


def test_clips_beside_demonstrations_change_no_action_gradient(base: Path) -> None:
    """The same noise and times for the labelled samples: what stands beside them does not matter."""
    made = ready(base, unlabelled=1)
    awaken(made.network)
    states = torch.randn(4, 4, 48, generator=torch.Generator().manual_seed(1))
    batch = made.batch(np.array([3, 40, 95, 96]))
    torch.manual_seed(0)
    usual = flow_loss(made.network.flow, states, batch.actions, batch.valid, 1)
    actions = torch.where(batch.valid[..., None], batch.actions, torch.randn_like(batch.actions))
    other = torch.cat([states[:2], torch.randn(2, 4, 48)])
    torch.manual_seed(0)
    assert torch.equal(flow_loss(made.network.flow, other, actions, batch.valid, 1), usual)


def test_the_latent_action_model_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    made = ready(base)
    assert not any(each.requires_grad for each in made._lam.parameters())
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=1e-3)
    for _ in range(2):
        sum(made.losses(made.batch(np.arange(4)), ALL).objectives.values()).backward()
        optimizer.step()
        made.end_step()
    made.save(tmp_path)
    before, after = load_model(base, CPU).state_dict(), load_model(tmp_path, CPU).state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
    acting = load_policy_model(tmp_path, CPU).state_dict()
    assert all(torch.equal(each, acting[name]) for name, each in made.network.state_dict().items())
    assert list(read_run_statistics(tmp_path)) == ["stvla"]


@pytest.mark.parametrize("quantiser", ["vq", "none"])
def test_the_codes_are_those_of_the_latent_action_model(tmp_path: Path, quantiser: str) -> None:
    from stvla_ros.policy.ssm_vla.checkpoint import save_model

    changes = {} if quantiser == "vq" else {"code_width": 4}
    save_model(random_model(dataclasses.replace(TINY, quantiser=quantiser, **changes), 0), tmp_path)
    made = ready(tmp_path)
    batch, parts = made.batch(np.array([3])), {}
    codes = made._lam.encode(batch.clip)
    right = codes.codes if quantiser == "none" else 40.0 * torch.nn.functional.one_hot(codes.ids, 32).float()
    made.network.told = lambda states: right
    parts = made.losses(batch, {CODES}).parts
    assert parts["codes"] < 1e-6 and (quantiser == "none" or parts["codes_right"] == 1.0)
    made.network.told = lambda states: right.roll(1, dims=-1)
    assert made.losses(batch, {CODES}).parts["codes"] > 1e-3


def test_keyframes_past_the_end_do_not_count(base: Path) -> None:
    made = ready(base)
    parts = made.losses(made.batch(np.array([29])), {VISION, CODES}).parts  # nothing comes after it
    assert parts["rgb"] == 0.0 and parts["depth"] == 0.0 and parts["codes"] == 0.0


def test_a_second_run_goes_on_with_the_policy_that_is_there(base: Path, tmp_path: Path) -> None:
    ready(base).save(tmp_path / "first")
    made = ready(tmp_path / "first", options=SsmVlaOptions())
    first = load_policy_model(tmp_path / "first", CPU).state_dict()
    assert all(torch.equal(each, first[name]) for name, each in made.network.state_dict().items())


def test_what_comes_can_be_learnt_first_without_any_action(base: Path, tmp_path: Path) -> None:
    nothing = np.full((120, 7), np.nan)
    made = SsmVlaTrainable(start(base, objectives=frozenset({VISION, CODES}), actions=nothing))
    made.use(taught(unlabelled=4))
    assert set(made.losses(made.batch(np.arange(4)), {VISION, CODES}).objectives) == {VISION, CODES}
    made.save(tmp_path)
    assert list(read_run_statistics(tmp_path)) == ["untrained"]
    assert ready(tmp_path, options=SsmVlaOptions())._statistics.keys() == {"stvla"}


def test_a_latent_action_model_that_never_learnt_is_remarked_on(base: Path, whole: Path) -> None:
    assert any("was never trained" in line for line in ready(whole, options=SsmVlaOptions()).remarks)


def test_activations_are_counted(base: Path) -> None:
    made = ready(base)
    assert 1.8 < made.activation_bytes(4) / made.activation_bytes(2) < 2.2


def test_errors_are_told_in_millimetres_of_labelled_samples(base: Path) -> None:
    made = ready(base, unlabelled=1)
    made.module.eval()
    parts = made.losses(made.batch(np.array([3, 100])), ALL, errors=True).parts
    assert 0 < parts["translation_error_mm"] < 1000 and parts["gripper_accuracy"] in (0.0, 1.0)
    assert "translation_error_mm" not in made.losses(made.batch(np.array([100])), ALL, errors=True).parts


@pytest.mark.slow
def test_all_losses_fall(base: Path) -> None:
    made, told = ready(base), []
    optimizer, random = torch.optim.AdamW(made.module.parameters(), lr=2e-3), np.random.default_rng(0)
    for step in range(200):
        torch.manual_seed(step)
        losses = made.losses(made.batch(random.integers(0, 120, 16)), ALL)
        optimizer.zero_grad()
        sum(losses.objectives.values()).backward()
        optimizer.step()
        told.append({name: float(each.detach()) for name, each in losses.parts.items()})
    last = {name: np.mean([each[name] for each in told[-20:]]) for name in told[0]}
    assert last["flow"] < 0.6 * told[0]["flow"] and last["rgb"] < 0.6 * told[0]["rgb"]
    assert last["codes"] < 0.8 * told[0]["codes"] and last["rgb_explained"] > 0.2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_new": True}, "checkpoint: expected a trained latent action model"),
        ({"inputs": InputsConfig()}, "inputs.traces: expected none"),
        ({"inputs": InputsConfig(traces="none", depth="constant")}, "inputs.depth: expected sensor or a network"),
        ({"options": SsmVlaOptions(ahead_s=0.7)}, "family.options.ahead_s: expected one of the keyframes at 0.2, 0.8"),
        ({"options": SsmVlaOptions(quantiser="none")}, "quantiser: expected vq, which the checkpoint was trained with"),
        ({"objectives": frozenset({LATENT, ACTIONS})}, "objectives: expected latent alone"),
    ],
)
def test_what_cannot_be_trained_is_one_line(base: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        find_family("ssm_vla").trainable(start(base, **changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"chunk_size": 4},
            "family.options.chunk_size: expected 8, which the checkpoint's policy was made with",
        ),
        ({"before_s": 2.0}, "family.options.before_s: expected 1.0"),
        ({"policy_size": "small"}, "family.options.policy_size: expected none, the checkpoint has a policy"),
    ],
)
def test_a_policy_that_is_there_cannot_become_another(whole: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SsmVlaTrainable(start(whole, options=SsmVlaOptions(**options)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"before_s": -1.0}, "before_s: expected seconds above 0"),
        ({"ahead_s": 1e9}, "ahead_s: expected seconds above 0"),
        ({"chunk_size": 99}, "chunk_size: expected 0 to 32"),
        ({"repeats": 0}, "repeats: expected 1 to 64"),
    ],
)
def test_an_option_out_of_range_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SsmVlaOptions(**options)
