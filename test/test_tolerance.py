"""The tolerance of test/tolerance.py against real sums: wide enough for any order, too narrow for one lost term."""

import numpy as np
import pytest
from tolerance import TERMS, assert_same_but_for_rounding, rounding


def chain(products: int, seed: int, reorder: bool, dtype: type) -> np.ndarray:
    """(1000,) numbers after ``products`` products of TERMS terms, with the terms shuffled or not."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((TERMS, 1000)).astype(dtype)
    for _ in range(products):
        weights = (random.standard_normal((TERMS, TERMS)) / np.sqrt(TERMS)).astype(dtype)
        order = np.random.default_rng(seed + 1).permutation(TERMS) if reorder else np.arange(TERMS)
        # Column after column, so that the order is ours and not the library's.
        total = np.zeros_like(values)
        for term in order:
            total += weights[:, term, None] * values[term]
        values = total
    return values[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("products", [1, 10, 60])
def test_terms_in_another_order_stay_well_inside(products: int, dtype: type) -> None:
    expected = chain(products, 0, False, dtype)
    got = chain(products, 0, True, dtype)
    difference = np.abs(got - expected).max()
    assert 0 < difference < 0.5 * rounding(expected, products, dtype=dtype)


@pytest.mark.parametrize("products", [1, 10, 60])
def test_one_term_too_few_is_far_outside(products: int) -> None:
    random = np.random.default_rng(1)
    weights, values = random.standard_normal(TERMS), random.standard_normal((TERMS, 1000))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same_but_for_rounding(weights[1:] @ values[1:], weights @ values, products)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_never_the_same(wrong: float) -> None:
    with pytest.raises(AssertionError, match="not finite"):
        assert_same_but_for_rounding(np.array([1.0, wrong]), np.array([1.0, wrong]), 1)


def test_another_shape_is_not_the_same() -> None:
    with pytest.raises(AssertionError, match="shape"):
        assert_same_but_for_rounding(np.ones((3, 1)), np.ones(3), 1)
