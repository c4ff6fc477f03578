"""Statistics: the confidence of a success rate, and whether two policies differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SuccessRate:
    """A share with its confidence interval, all 0 to 1.

    :param n: number of episodes that the share comes from.
    """

    value: float
    low: float
    high: float
    n: int


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's score interval at 95 % (Wilson 1927).

    :param successes: number of successes, 0 to n; it and ``n`` need not be whole (an effective number of episodes).
    :returns: low and high; (0, 1) for n = 0.
    """
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not push the ends past the share or past 0 and 1.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def effective_episodes(groups: Sequence[Sequence[float]]) -> float:
    """The number of independent episodes that repeated ones are worth.

    Episodes from the same placement (with several seeds) tend to have the same outcome. The result is n / (1 + (m - 1)
    rho), where m is the mean size of a group and rho the intraclass correlation, by the analysis of variance and within
    0..1 (Kish 1965; Donner & Klar 2000). If all episodes have the same outcome, rho is unknown and taken as 1: the
    result is the number of placements.

    :param groups: outcomes 0..1 of each placement's episodes, none empty.
    """
    n, k = sum(map(len, groups)), len(groups)
    if n == k or k == 0:
        return float(n)
    m = n / k
    means = np.array([np.mean(group) for group in groups])
    sizes = np.array([len(group) for group in groups])
    total = float(np.sum(sizes * means) / n)
    within = sum(float(np.sum((np.asarray(group) - mean) ** 2)) for group, mean in zip(groups, means)) / (n - k)
    between = float(np.sum(sizes * (means - total) ** 2)) / (k - 1) if k > 1 else 0.0
    spread = between + (m - 1) * within
    rho = min(1.0, max(0.0, (between - within) / spread)) if k > 1 and spread > 0 else 1.0
    return n / (1 + (m - 1) * rho)


def rate(groups: Sequence[Sequence[float]]) -> SuccessRate:
    """Mean of all outcomes, with Wilson's interval for the effective number of episodes.

    :param groups: outcomes of each placement's episodes, see :func:`effective_episodes`. Outcomes between 0 and 1
        (shares of goal conditions) spread less than Wilson's interval assumes; the interval is then too wide.
    """
    outcomes = [outcome for group in groups for outcome in group]
    n = len(outcomes)
    value = float(np.mean(outcomes)) if n else 0.0
    effective = effective_episodes(groups)
    return SuccessRate(value, *wilson(value * effective, effective), n)


def mean_rate(rates: Sequence[SuccessRate]) -> SuccessRate:
    """Mean over tasks with equal weights, with an interval computed from theirs (MOVER: Zou & Donner 2008).

    :param rates: rates of the tasks, at least one.
    """
    k = len(rates)
    value = sum(rate.value for rate in rates) / k
    below = sqrt(sum((rate.value - rate.low) ** 2 for rate in rates)) / k
    above = sqrt(sum((rate.high - rate.value) ** 2 for rate in rates)) / k
    return SuccessRate(value, max(0.0, value - below), min(1.0, value + above), sum(rate.n for rate in rates))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value, corrected for the number of comparisons (Holm 1979). If all compared policies are equally good, the
    probability that any corrected p-value is below a level is at most that level, whatever their dependence.
    """
    corrected = [1.0] * len(p_values)
    least = 0.0
    for place, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        least = max(least, (len(p_values) - place) * p_values[index])
        corrected[index] = min(1.0, least)
    return corrected


def paired_p_value(differences: Sequence[int]) -> float:
    """Two-sided p-value of "the two policies are equally good": the exact sign-flip test over placements.

    If they were equal, each placement's difference would have the other sign with the same probability. The p-value is
    the share of all sign patterns whose sum is at least as far from zero. With one seed, where differences are -1, 0 or
    1, this is the exact McNemar test. With several seeds, a placement still counts once.

    :param differences: successes of the one less those of the other, by placement.
    """
    sizes = [abs(int(difference)) for difference in differences if difference]
    if not sizes:
        return 1.0
    total = sum(sizes)
    shares = np.zeros(2 * total + 1)  # number of sign patterns, by their sum plus total
    shares[total] = 1.0
    for size in sizes:
        shares = 0.5 * (np.roll(shares, size) + np.roll(shares, -size))
    distance = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, shares[distance >= abs(sum(differences))].sum()))


def sign_flip_p_value(differences: Sequence[float], draws: int = 10_000, seed: int = 0) -> float:
    """As :func:`paired_p_value`, of differences that are no whole numbers: by drawn sign patterns.

    :param differences: errors of the one less those of the other, by episode.
    :param draws: number of drawn patterns; no p-value is below 1 / (draws + 1).
    :param seed: seed of the patterns.
    """
    given = np.asarray(differences, np.float64)
    if not given.any():
        return 1.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (draws, len(given)))
    # Rounding must not make of a pattern as far from zero one that is nearer.
    far = np.abs(signs @ given) >= abs(given.sum()) * (1.0 - 1e-9)
    return float((1 + far.sum()) / (draws + 1))


def mean_interval(groups: Sequence[Sequence[float]], draws: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """A mean over all with its 95 % interval, of groups drawn anew.

    :param groups: sum of the values and their number, for each group, such as an episode.
    :param draws: number of times that groups are drawn.
    :param seed: seed of these.
    :returns: mean, low and high.
    """
    sums, counts = np.asarray(groups, np.float64).T
    chosen = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    drawn = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.quantile(drawn, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    mean = float(sums.sum() / counts.sum())
    return mean, min(float(low), mean), max(float(high), mean)
