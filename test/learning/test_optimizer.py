"""Which optimiser changes which weights, and how fast."""

import math

import pytest
import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.learning.training import optimizer as training_optimizer
from stvla_ros.learning.training.config_sections import OptimizerConfig
from stvla_ros.learning.training.optimizer import learning_rate, make_optimizers, set_learning_rate

TABLES = ("embed_tokens", "pointing")
WEIGHTS = {
    "model.layers.0.q_proj.weight": nn.Parameter(torch.zeros(4, 4)),
    "model.layers.0.norm.weight": nn.Parameter(torch.zeros(4)),
    "model.embed_tokens.weight": nn.Parameter(torch.zeros(8, 4)),
    "spatial_embed_tokens.weight": nn.Parameter(torch.zeros(8, 4)),
    "heads.pointing.weight": nn.Parameter(torch.zeros(3, 4)),
}


def of(optimizer: torch.optim.Optimizer) -> set[str]:
    ids = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return {name for name, parameter in WEIGHTS.items() if id(parameter) in ids}


def test_muon_takes_the_layers_matrices_and_adamw_the_rest() -> None:
    muon, adamw = make_optimizers(WEIGHTS, OptimizerConfig("muon", learning_rate=2e-3, weight_decay=0.1), TABLES)
    assert isinstance(muon, torch.optim.Muon) and of(muon) == {"model.layers.0.q_proj.weight"}
    assert isinstance(adamw, torch.optim.AdamW) and of(adamw) == set(WEIGHTS) - of(muon)
    for optimizer in (muon, adamw):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["weight_decay"]) == (2e-3, 0.1)
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)
    assert muon.param_groups[0]["adjust_lr_fn"] == "match_rms_adamw"


def test_adamw_alone_takes_everything() -> None:
    (adamw,) = make_optimizers(WEIGHTS, OptimizerConfig("adamw"), TABLES)
    assert isinstance(adamw, torch.optim.AdamW) and of(adamw) == set(WEIGHTS)


def test_what_one_optimiser_takes_alone_needs_no_other() -> None:
    matrix, table = "model.layers.0.q_proj.weight", "model.embed_tokens.weight"
    for name, kind in ((matrix, torch.optim.Muon), (table, torch.optim.AdamW)):
        (only,) = make_optimizers({name: WEIGHTS[name]}, OptimizerConfig("muon"), TABLES)
        assert isinstance(only, kind)


@pytest.mark.parametrize("in_bfloat16", [True, False])
def test_muon_takes_the_step_of_torchs_in_the_type_that_the_device_computes(
    in_bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_optimizer, "computes_bfloat16", lambda device: in_bfloat16)
    random = torch.Generator().manual_seed(0)
    start, gradient = (torch.randn(24, 40, generator=random) for _ in range(2))
    steps = {}
    for kind in (torch.optim.Muon, training_optimizer.Muon):
        weight = nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        kind([weight], lr=0.1, adjust_lr_fn="match_rms_adamw").step()
        assert torch.equal(weight.grad, gradient)
        steps[kind] = weight.detach() - start
    torchs, ours = steps.values()
    apart = float((ours - torchs).norm() / torchs.norm())
    # bfloat16 has 8 bits: five rounds of products lose 2 % of the step.
    assert apart == 0.0 if in_bfloat16 else 1e-4 < apart < 0.05


def test_the_rate_warms_up_to_the_peak_and_stays() -> None:
    config = OptimizerConfig(learning_rate=8.0, warmup_steps=4, schedule="constant")
    assert [learning_rate(config, step, 8) for step in range(8)] == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0, 8.0, 8.0]


def test_the_rate_falls_from_the_peak_by_half_a_cosine() -> None:
    config = OptimizerConfig(learning_rate=8.0, warmup_steps=2, schedule="cosine")
    rates = [learning_rate(config, step, 6) for step in range(6)]
    cosine = [4.0 * (1.0 + math.cos(math.pi * done / 4)) for done in range(4)]
    assert rates == pytest.approx([4.0, 8.0, *cosine])
    assert learning_rate(config, 6, 6) == pytest.approx(0.0)
    assert learning_rate(OptimizerConfig(learning_rate=8.0, warmup_steps=2, schedule="cosine"), 2, 2) == 8.0


def test_a_rate_is_set_everywhere() -> None:
    optimizers = make_optimizers(WEIGHTS, OptimizerConfig("muon"), TABLES)
    set_learning_rate(optimizers, 0.125)
    assert [group["lr"] for optimizer in optimizers for group in optimizer.param_groups] == [0.125, 0.125]


PARTS = {"model.layers": 1e-5, "layers.0.norm": 1e-4, "heads": 4e-5}


def rates(optimizers: list[torch.optim.Optimizer]) -> dict[str, float]:
    """Of each weight."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    by_id = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    return {name: by_id[id(parameter)] for name, parameter in WEIGHTS.items()}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_parts_have_rates_of_their_own_in_the_whole_schedule(name: str) -> None:
    config = OptimizerConfig(name, learning_rate=2e-5, learning_rates=PARTS)
    optimizers = make_optimizers(WEIGHTS, config, TABLES)
    expected = dict(zip(WEIGHTS, (1e-5, 1e-4, 2e-5, 2e-5, 4e-5), strict=True))
    assert rates(optimizers) == pytest.approx(expected)
    set_learning_rate(optimizers, 1e-5)
    assert rates(optimizers) == pytest.approx({name: rate / 2 for name, rate in expected.items()})


def test_a_step_moves_each_part_by_its_own_rate() -> None:
    weights = {name: nn.Parameter(weight.clone()) for name, weight in WEIGHTS.items()}
    (adamw,) = make_optimizers(weights, OptimizerConfig(learning_rate=2e-5, learning_rates=PARTS))
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    adamw.step()
    # AdamW's first step is as long as the rate.
    moved = {name: float(-weight.detach().mean()) for name, weight in weights.items()}
    assert moved == pytest.approx(dict(zip(WEIGHTS, (1e-5, 1e-4, 2e-5, 2e-5, 4e-5), strict=True)), rel=1e-3)


def test_a_state_from_before_there_were_parts_is_still_read() -> None:
    (adamw,) = make_optimizers(WEIGHTS, OptimizerConfig())
    state = adamw.state_dict()
    del state["param_groups"][0]["rate_share"]
    adamw.load_state_dict(state)
    set_learning_rate([adamw], 0.5)
    assert adamw.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("part", ["nothing", "model.layer", ""])
def test_a_rate_of_a_part_that_is_none_is_named(part: str) -> None:
    with pytest.raises(InputError, match="optimizer.learning_rates: expected trained parts of the network like"):
        make_optimizers(WEIGHTS, OptimizerConfig(learning_rates={part: 1e-4}))
