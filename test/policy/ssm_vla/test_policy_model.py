"""The transformer of the policy: who sees whom, by gradients; the flow head; the picture to come."""

import numpy as np
import pytest
import torch
from lam_scenes import SIZE, TINY
from policy_scenes import POLICY, observed, policy, scene
from tolerance import assert_same_but_for_rounding

from stvla_ros.policy.ssm_vla.model import Observations, SsmVla
from stvla_ros.policy.ssm_vla.vla.flow_head import ACTION, LATEST, FlowSampler, draw_times
from stvla_ros.policy.ssm_vla.vla.masks import padded_mask, ranks, structured_mask

KEYFRAMES, QUERIES, ACTIONS = len(TINY.keyframes_s), TINY.queries, POLICY.action_queries


@pytest.fixture(scope="module")
def model() -> SsmVla:
    return policy()


# What sees what: rows of the paper's table, with the latent queries of three keyframes.
KINDS = ("core", "vision", "latent 1", "latent 2", "latent 3", "actions")
SEES = {
    "core": {"core"},
    "vision": {"core", "vision"},
    "latent 1": {"core", "vision", "latent 1"},
    "latent 2": {"core", "vision", "latent 1", "latent 2"},
    "latent 3": {"core", "vision", "latent 1", "latent 2", "latent 3"},
    "actions": set(KINDS),
}


def places(model: SsmVla, core: int) -> dict[str, slice]:
    """Where the tokens of each kind are."""
    lengths = [core, model.patches, *[QUERIES] * KEYFRAMES, ACTIONS]
    ends = np.cumsum(lengths)
    return {kind: slice(end - length, end) for kind, length, end in zip(KINDS, lengths, ends, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_by_gradients_each_kind_of_token_sees_what_the_mask_says(model: SsmVla, kind: str) -> None:
    core = model.core(observed())
    tokens = torch.cat([core, model.asked()[None]], dim=1).detach().requires_grad_()
    mask = model.mask(core.shape[1])
    passed = tokens
    for block in model.blocks:
        passed = block(passed, mask)
    where = places(model, core.shape[1])
    passed[:, where[kind]].square().sum().backward()
    reached = {each for each, place in where.items() if tokens.grad[:, place].abs().max() > 0}
    assert reached == SEES[kind]


def test_what_the_states_are_asked_for_alone_is_what_the_whole_pass_gives(model: SsmVla) -> None:
    given = observed(batch=2)
    core = model.core(given)
    tokens = torch.cat([core, model.asked().expand(2, -1, -1)], dim=1)
    for block in model.blocks:
        tokens = block(tokens, model.mask(core.shape[1]))
    whole = model.norm(tokens)[:, core.shape[1] :].detach().numpy()
    states = model.states(given)
    asked = torch.cat([states.vision, states.latent.flatten(1, 2), states.actions], dim=1).detach().numpy()
    assert_same_but_for_rounding(asked, whole, products=POLICY.layers * 4 * POLICY.width, amplification=4.0)


def test_states_come_from_words_and_from_both_pictures(model: SsmVla) -> None:
    given, other = observed(), observed(seed=7)
    usual = model.states(given).actions
    for changed in (
        Observations(other.now, given.before, given.words),
        Observations(given.now, other.before, given.words),
        Observations(given.now, given.before, other.words),
        Observations(given.before, given.now, given.words),
    ):
        assert (model.states(changed).actions - usual).abs().max() > 1e-4


def test_what_an_instruction_is_padded_with_changes_nothing(model: SsmVla) -> None:
    given = observed(words=4)
    alone = model.states(Observations(given.now, given.before, given.words))
    for padding in (0, 9):
        words = torch.nn.functional.pad(given.words, (0, 3), value=padding)
        spoken = torch.arange(7)[None] < 4
        padded = model.states(Observations(given.now, given.before, words, spoken))
        for one, other in zip(vars(alone).values(), vars(padded).values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_every_row_of_the_mask_sees_something() -> None:
    mask = structured_mask(ranks(6, 4, 3, 2, 4))
    spoken = torch.tensor([[True, False], [True, True]])
    assert padded_mask(mask, spoken).any(dim=-1).all() and not padded_mask(mask, spoken)[0, 0, :, 1].any()


def test_a_new_policy_expects_no_change_and_no_velocity() -> None:
    from stvla_ros.policy.ssm_vla.create import random_policy

    new, given = random_policy(TINY, POLICY, 0).eval(), observed()
    states = new.states(given)
    assert torch.equal(new.expected(given.now, states).rgb[:, 0], given.now.rgb)
    torch.testing.assert_close(new.expected(given.now, states).depth()[:, 0], given.now.depth)
    noise = torch.randn(1, POLICY.chunk, ACTION)
    assert torch.equal(FlowSampler(new.flow, 10)(states.actions, noise), noise)


def test_shapes_are_those_of_the_reference(model: SsmVla) -> None:
    given = observed(batch=3)
    states = model.states(given)
    assert states.vision.shape == (3, 16, 48) and states.latent.shape == (3, 3, 4, 48)
    assert states.actions.shape == (3, 4, 48) and model.told(states).shape == (3, 3, 4, 32)
    rebuilt = model.expected(given.now, states)
    assert rebuilt.rgb.shape == (3, 1, 3, SIZE, SIZE) and rebuilt.inverse.shape == (3, 1, SIZE, SIZE)


def test_the_expected_picture_comes_from_the_vision_queries(model: SsmVla) -> None:
    now, states = scene(), model.states(observed())
    other = model.states(observed(seed=3))
    assert (model.expected(now, states).rgb - model.expected(now, other).rgb).abs().max() > 1e-4


def test_the_sampler_takes_the_steps_of_euler(model: SsmVla) -> None:
    states, noise = model.states(observed()).actions.detach(), torch.randn(1, POLICY.chunk, ACTION)
    chunk = noise
    for step in range(10):
        chunk = chunk + model.flow(chunk, torch.tensor([step / 10]), states) / 10
    sampled = FlowSampler(model.flow, 10)(states, noise)
    assert (sampled - noise).abs().max() > 0.05
    torch.testing.assert_close(sampled, chunk, rtol=1e-4, atol=1e-5)


def test_a_straight_flow_arrives_in_any_number_of_steps(model: SsmVla) -> None:
    """If the velocity is the same everywhere, each number of steps leads to the same chunk."""
    flow = policy(seed=5).flow
    torch.nn.init.zeros_(flow.velocity.weight)
    torch.nn.init.constant_(flow.velocity.bias, 0.3)
    noise = torch.randn(1, POLICY.chunk, ACTION)
    states = torch.zeros(1, ACTIONS, POLICY.width)
    for steps in (1, 3, 10):
        torch.testing.assert_close(FlowSampler(flow, steps)(states, noise), noise + 0.3)


def test_times_are_drawn_more_at_the_noisy_end() -> None:
    torch.manual_seed(0)
    times = draw_times(20_000, torch.device("cpu"))
    assert times.min() >= 0 and times.max() <= LATEST and (times < 0.1).float().mean() > (times > 0.9).float().mean()
    assert times.mean() == pytest.approx(0.4 * LATEST, abs=0.01)  # of Beta(1.5, 1) the mean is 0.6
