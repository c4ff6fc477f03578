"""Checks of the parameters that sampling policies of every family take; no network is needed."""

from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.policy.inputs import RESIZE_METHODS

LARGEST_SEED = 2**63 - 1


def check_temperature(temperature: Any) -> None:
    """:raises InputError: for anything but a number from 0 (greedy) to 100."""
    is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not is_number or not 0.0 <= temperature <= 100.0:
        raise InputError(f"temperature: expected 0 (greedy) to 100, got {temperature!r}")


def check_seed(seed: Any) -> None:
    """:raises InputError: for a seed that torch does not take."""
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed: expected a whole number from 0 to {LARGEST_SEED}, got {seed!r}")


def check_resize(resize: Any) -> None:
    """:raises InputError: for anything but one of ``RESIZE_METHODS``."""
    if resize not in RESIZE_METHODS:
        raise InputError(f"resize: expected one of {', '.join(RESIZE_METHODS)}, got {resize!r}")
