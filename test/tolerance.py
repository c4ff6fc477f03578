"""How far apart two float computations of the same numbers may lie: what another order of summation explains, no more.

Processors, libraries and numbers of threads add the terms of a matrix product in different orders. Each sum of n terms
is then off by about sqrt(n) units in the last place of its largest terms (a random walk), and the errors of products
that follow each other walk on in the same way. So two right computations of a value that went through p products of n
terms differ by about ``eps * sqrt(p * n)`` of the values' size: a tolerance follows from the number format and the
network's depth, and no processor has to be tried first. ``test_tolerance.py`` holds the estimate to real products, and
the tests that use it plant errors that it must not hide.
"""

import numpy as np

# Terms of one product: the tiny checkpoint's widths are 32 to 588.
TERMS = 100
# The worst of thousands of values, not the typical one, has to stay inside: four and more deviations, of two errors.
SAFETY = 8.0


def rounding(values: np.ndarray, products: int, amplification: float = 1.0, dtype: type = np.float32) -> float:
    """Largest difference between two computations of ``values`` that rounding explains, in their unit.

    :param values: expected numbers, whose largest gives the size.
    :param products: matrix products or convolutions that a value passes one after another.
    :param amplification: factor by which the computation itself stretches small differences, as a steep function does.
    :param dtype: number format of the computation.
    """
    size = float(np.abs(np.asarray(values, dtype=np.float64)).max())
    return SAFETY * amplification * float(np.finfo(dtype).eps) * float(np.sqrt(products * TERMS)) * size


def assert_same_but_for_rounding(
    got: np.ndarray, expected: np.ndarray, products: int, amplification: float = 1.0, dtype: type = np.float32
) -> None:
    """Fail where the two differ by more than ``rounding`` of the expected values; NaN and infinity always differ.

    For values of one kind and size: of a matrix with metres beside pixels each column has its own tolerance.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    assert np.isfinite(got).all(), "not finite"
    within = rounding(expected, products, amplification, dtype)
    np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=0, atol=within)
