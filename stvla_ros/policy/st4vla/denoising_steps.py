"""The steps of the noise, and what the sampler can be told, checked without a network."""

from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.policy.sampling import check_resize

STEPS = 100
"""Steps in which noise is added in training."""
_MOST_GUIDANCE = 100.0


def sampler_steps() -> tuple[int, ...]:
    """The numbers of steps that the sampler can take: those that a constant stride through the ``STEPS`` gives."""
    return tuple(sorted({1, *(len(range(0, STEPS, stride)) for stride in range(1, STEPS))}))


def step_times(steps: int) -> tuple[int, ...]:
    """The times that the sampler visits, descending to 0. Of all strides that give this number of steps the shortest is
    taken. So 10 steps begin at time 90: the sampler takes pure noise for actions of which ᾱ(90) = 2 % is left. A single
    step is taken at time 50 (published respacing).

    :raises InputError: for a number that no stride gives.
    """
    if type(steps) is int and steps == 1:
        return (STEPS // 2,)
    for stride in range(1, STEPS):
        if type(steps) is int and len(range(0, STEPS, stride)) == steps:
            return tuple(reversed(range(0, STEPS, stride)))
    numbers = ", ".join(map(str, sampler_steps()))
    raise InputError(f"steps: expected one of {numbers}, got {steps!r}")


def check_sampling(steps: Any, guidance: Any, resize: Any) -> None:
    """:raises InputError: naming the parameter that is out of range."""
    step_times(steps)
    number = isinstance(guidance, int | float) and not isinstance(guidance, bool)
    if not number or not 0.0 <= guidance <= _MOST_GUIDANCE:
        raise InputError(f"guidance: expected a number from 0 to {_MOST_GUIDANCE:g} (up to 1: none), got {guidance!r}")
    check_resize(resize)
