"""The sampler's steps, checked without a network."""

from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.policy.ssm_vla.sizes import MOST_STEPS


def check_steps(steps: Any) -> None:
    """:raises InputError: for anything but a whole number of steps that the sampler can take."""
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise InputError(f"steps: expected a whole number from 1 to {MOST_STEPS}, got {steps!r}")
