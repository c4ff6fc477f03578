"""The averaged weights that a training run saves."""

import copy

import torch
from torch import nn

from stvla_ros.learning.training.optimizer import averaged_weights, exchange


def weights(seed: int) -> nn.ParameterList:
    random = torch.Generator().manual_seed(seed)
    return nn.ParameterList([torch.randn(3, 4, generator=random), torch.randn(5, generator=random)])


def steps(decay: float, trained: nn.ParameterList, count: int) -> tuple[nn.Module, list[list[torch.Tensor]]]:
    """The average after `count` steps, and the weights before the first and after each."""
    taken = [[each.detach().clone() for each in trained]]
    average = averaged_weights(trained, decay)
    for step in range(count):
        with torch.no_grad():
            for mine, new in zip(trained, weights(100 + step), strict=True):
                mine.copy_(new)
        average.update_parameters(trained)
        taken.append([each.detach().clone() for each in trained])
    return average, taken


def test_the_first_steps_are_forgotten_sooner_than_the_decay_says() -> None:
    average, taken = steps(0.5, weights(0), 12)
    # Step n keeps (1 + n) / (10 + n) of the average until that is the decay: from step 8 on.
    kept = [1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5, 0.5]
    expected = taken[0]
    for share, new in zip(kept, taken[1:], strict=True):
        expected = [share * old + (1 - share) * value for old, value in zip(expected, new, strict=True)]
    for mine, right in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(mine.detach(), right)


def test_an_average_that_was_loaded_goes_on_as_the_one_that_was_saved() -> None:
    trained = weights(0)
    average, _ = steps(0.9, trained, 3)
    loaded = averaged_weights(weights(5), 0.9)
    loaded.load_state_dict(copy.deepcopy(average.state_dict()))
    for each in (average, loaded):
        each.update_parameters(weights(6))
    assert all(torch.equal(mine, other) for mine, other in zip(average.parameters(), loaded.parameters(), strict=True))


def test_exchanging_twice_changes_nothing() -> None:
    one, other = weights(1), weights(2)
    exchange(one, other)
    assert torch.equal(one[0], weights(2)[0]) and torch.equal(other[1], weights(1)[1])
    exchange(one, other)
    assert torch.equal(one[1], weights(1)[1]) and torch.equal(other[0], weights(2)[0])
