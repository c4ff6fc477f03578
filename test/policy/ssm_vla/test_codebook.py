"""Codes live, or the training ends; a pass changes nothing."""

import dataclasses

import pytest
import torch
from lam_scenes import TINY

from stvla_ros.errors import InputError
from stvla_ros.policy.ssm_vla.lam import quantiser
from stvla_ros.policy.ssm_vla.lam.quantiser import Codebook, NoCodebook

CONFIG = dataclasses.replace(TINY, codes=8, code_width=4)


@pytest.fixture
def book() -> Codebook:
    torch.manual_seed(0)
    return Codebook(CONFIG).train()


def numbers(batch: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, 3, 4, 4, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def valid(batch: int = 16) -> torch.Tensor:
    return torch.ones(batch, 3, dtype=torch.bool)


def test_a_code_is_the_nearest_of_length_one_and_passes_the_gradient_on(book: Codebook) -> None:
    raw = numbers()
    told = book(raw, valid())
    unit = torch.nn.functional.normalize(raw - raw.mean(dim=0), dim=-1)
    distances = (unit[..., None, :] - book.vectors).norm(dim=-1)
    assert torch.equal(told.ids, distances.argmin(dim=-1))
    assert torch.allclose(told.codes, book.vectors[told.ids], atol=1e-6)
    told.codes[..., 0].sum().backward()
    assert raw.grad.abs().sum() > 0


def test_the_commitment_pulls_what_is_quantised(book: Codebook) -> None:
    raw = numbers()
    book(raw, valid()).commitment.sum().backward()
    assert raw.grad.abs().sum() > 0


def test_a_pass_changes_nothing(book: Codebook) -> None:
    before = {name: each.clone() for name, each in book.state_dict().items()}
    book(numbers(), valid())
    book.forget()
    book.follow()
    assert all(torch.equal(before[name], each) for name, each in book.state_dict().items())


def test_nothing_is_learnt_from_while_it_is_held_out(book: Codebook) -> None:
    book.eval()(numbers(), valid())
    book.train()
    with torch.no_grad():
        book(numbers(), valid())
    book.follow()
    assert int(book.steps) == 0


def test_the_codebook_follows_what_falls_to_it(book: Codebook) -> None:
    raw = numbers(64)
    losses = []
    for _ in range(40):
        losses.append(float(book(raw, valid(64)).commitment.detach().mean()))
        book.follow()
    assert losses[-1] < 0.8 * losses[0]
    assert torch.allclose(book.vectors.norm(dim=-1), torch.ones(CONFIG.codes), atol=1e-5)


def test_missing_keyframes_move_no_code(book: Codebook) -> None:
    other = Codebook(CONFIG).train()
    other.load_state_dict(book.state_dict())
    raw, there = numbers(), valid()
    there[:, 2] = False
    changed = raw.detach().clone()
    changed[:, 2] = 7.0
    for each, given in ((book, raw), (other, changed)):
        torch.manual_seed(1)
        each(given, there)
        each.follow()
    assert all(torch.equal(a, b) for a, b in zip(book.state_dict().values(), other.state_dict().values()))


def test_no_keyframe_at_all_moves_nothing(book: Codebook) -> None:
    book(numbers(), ~valid())
    book.follow()
    assert int(book.steps) == 0


def test_dead_codes_begin_anew_where_something_is(book: Codebook) -> None:
    with torch.no_grad():
        book.vectors[:] = torch.tensor([1.0, 0, 0, 0])
        book.sums.copy_(book.vectors / CONFIG.codes)
        book.steps += 1  # the first step begins all of them
    raw = numbers(64)
    for _ in range(200):
        book(raw, valid(64))
        book.follow()
    figures = book.figures()
    assert figures["codes_live"] == CONFIG.codes and figures["perplexity"] > CONFIG.codes / 2


def follow(book: Codebook, raw: torch.Tensor, steps: int) -> None:
    for _ in range(steps):
        book(raw.detach().requires_grad_(), valid(len(raw)))
        book.follow()


def test_a_dead_codebook_ends_the_training_in_one_line(book: Codebook) -> None:
    with pytest.raises(InputError, match=r"expected at least 4 of 8 codes in use, [123] are after 200 steps"):
        follow(book, torch.ones(4, 3, 4, 4), quantiser.PATIENCE + 1)


def test_what_every_clip_says_alike_is_taken_away_before_it_is_quantised(book: Codebook) -> None:
    """Each query has its own constant, and a thousandth of it is of the clip: all codes are used at every place."""
    constants = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(7))
    raw = constants + 1e-3 * numbers(64).detach()
    follow(book, raw, 100)
    assert (book.shares.amax(dim=-1) < 0.5).all() and float(book.bits.min()) > 4 * 2.0
    with torch.no_grad():
        told, shown = (each(raw, valid(64)).ids for each in (book, book.eval()))
    assert torch.equal(told, shown)
    assert (book(raw, valid(64)).ids == book(raw[:1], valid(1)).ids).float().mean() < 1.0
    assert torch.equal(book(raw, valid(64)).ids[:1], book(raw[:1], valid(1)).ids)


def test_codes_that_differ_from_place_to_place_alone_end_the_training(book: Codebook) -> None:
    """One clip of 64 is an exception, and the others all lie on the other side of the mean: each place has one code for
    them. Several codes are in use, and they tell next to nothing of a clip.
    """
    raw = torch.zeros(64, 3, 4, 4)
    raw[0] = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(7))
    with pytest.raises(InputError, match=r"codes that change from clip to clip, 2 bits .* though [4-8] codes are in"):
        follow(book, raw, quantiser.PATIENCE + 1)


def test_figures_tell_how_much_a_keyframes_codes_can_tell(book: Codebook) -> None:
    assert book.figures()["code_bits"] == 0.0
    book.use[0] = 1.0 / 8  # every code of every query alike; the other keyframes have one code each
    book.use[1:, :, 0] = 1.0
    assert float(book.figures()["code_bits"]) == pytest.approx(4 * 3.0 / 3, abs=1e-4)
    assert book.bits.tolist() == pytest.approx([12.0, 0.0, 0.0], abs=1e-4)


def test_without_a_codebook_there_is_noise_in_training_alone() -> None:
    none, raw = NoCodebook(CONFIG), numbers()
    assert torch.equal(none.eval()(raw, valid()).codes, none(raw, valid()).codes)
    with torch.no_grad():
        noisy = none.train()(raw, valid()).codes
    assert 0.05 < (noisy - none.eval()(raw, valid()).codes).std() < 0.2


def test_without_a_codebook_the_constant_of_each_query_is_taken_away_too() -> None:
    none = NoCodebook(CONFIG).train()
    raw = 5.0 + numbers(64).detach()
    for _ in range(3):
        none(raw.requires_grad_(), valid(64))
        none.follow()
    assert torch.allclose(none.middle, raw.mean(dim=0), atol=1e-5)
    assert none.eval()(raw, valid(64)).codes.mean(dim=0).abs().max() < 0.2


def test_a_clip_alone_is_compared_with_those_before_it(book: Codebook) -> None:
    for seed in range(8):
        told = book(numbers(1, seed), valid(1))
        assert told.codes.detach().norm(dim=-1).min() > 0.9
        book.follow()
    assert book.middle.abs().sum() > 0
