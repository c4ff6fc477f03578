"""The norm as it is trained on a CPU: torch's own values and gradients, and less of memory."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tolerance import assert_same_but_for_rounding

from stvla_ros.policy.spatialvla.gemma import RmsNorm

WIDTH, EPS = 48, 1e-6


def norm() -> RmsNorm:
    made = RmsNorm(WIDTH, EPS)
    torch.nn.init.normal_(made.weight, std=0.3)
    return made


def plain(made: RmsNorm, x: torch.Tensor) -> torch.Tensor:
    """As torch differentiates it."""
    return F.rms_norm(x.float(), (WIDTH,), 1.0 + made.weight.float(), EPS).type_as(x)


def values_and_gradients(call, made: RmsNorm, x: torch.Tensor, loss_of: torch.Tensor) -> list[np.ndarray]:
    x, made.weight.grad = x.clone().requires_grad_(), None
    y = call(x)
    (y.float() * loss_of).sum().backward()
    return [each.detach().float().numpy() for each in (y, x.grad, made.weight.grad)]


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e3])
def test_values_and_gradients_are_those_of_torch(size: float) -> None:
    torch.manual_seed(0)
    made, x, loss_of = norm(), size * torch.randn(3, 7, WIDTH), torch.randn(3, 7, WIDTH)
    ours = values_and_gradients(made, made, x, loss_of)
    for got, expected in zip(ours, values_and_gradients(lambda x: plain(made, x), made, x, loss_of), strict=True):
        assert_same_but_for_rounding(got, expected, products=2)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(1)
    made, x, loss_of = norm(), torch.randn(5, WIDTH), torch.randn(5, WIDTH)
    _, of_x, of_weight = values_and_gradients(made, made, x, loss_of)
    for _ in range(5):
        along, along_weight = torch.randn(5, WIDTH), torch.randn(WIDTH)
        double, weight = x.double(), made.weight.detach().double()

        def loss(step: float) -> float:
            moved = double + step * along
            normed = moved / (moved.square().mean(dim=-1, keepdim=True) + EPS).sqrt()
            return float((normed * (1.0 + weight + step * along_weight) * loss_of).sum())

        expected = (loss(1e-4) - loss(-1e-4)) / 2e-4
        terms = np.concatenate([(of_x * along.numpy()).ravel(), of_weight * along_weight.numpy()])
        assert terms.sum() == pytest.approx(expected, abs=1e-5 * np.abs(terms).sum())


def test_bfloat16_stays_bfloat16_and_differs_by_its_rounding() -> None:
    torch.manual_seed(2)
    made, x, loss_of = norm(), torch.randn(4, WIDTH).bfloat16(), torch.randn(4, WIDTH)
    y = made(x.clone().requires_grad_())
    assert y.dtype is torch.bfloat16
    ours = values_and_gradients(made, made, x, loss_of)
    exact = values_and_gradients(lambda x: plain(made, x.float()), made, x, loss_of)
    for got, expected in zip(ours, exact, strict=True):
        assert np.abs(got - expected).max() <= 4 * torch.finfo(torch.bfloat16).eps * np.abs(expected).max()


def test_a_frozen_gain_gets_no_gradient() -> None:
    made = norm().requires_grad_(False)
    x = torch.randn(2, WIDTH, requires_grad=True)
    made(x).sum().backward()
    assert made.weight.grad is None and x.grad is not None


def test_the_input_and_one_number_a_row_are_kept() -> None:
    made, kept = norm(), []
    x = torch.randn(6, WIDTH, requires_grad=True)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(x)
    assert sum(tensor.numel() for tensor in kept if tensor.data_ptr() != x.data_ptr()) <= 6 + 2 * WIDTH
