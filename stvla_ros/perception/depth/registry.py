"""Depth backends by name."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import DepthEstimator

# Module and class: a backend is imported when it is made, so that a node without a network never imports torch.
_BACKENDS: dict[str, tuple[str, str] | Callable[..., DepthEstimator]] = {
    "sensor": ("stvla_ros.perception.depth.sensor", "SensorDepth"),
    "constant": ("stvla_ros.perception.depth.constant", "ConstantDepth"),
    "zoedepth": ("stvla_ros.perception.depth.zoedepth", "ZoeDepth"),
    "depth_anything": ("stvla_ros.perception.depth.depth_anything", "DepthAnything"),
}


def depth_estimator_names() -> tuple[str, ...]:
    return tuple(_BACKENDS)


def register_depth_estimator(name: str, factory: Callable[..., DepthEstimator]) -> None:
    """Add a backend: ``factory(**params)`` makes it.

    :raises InputError: when the name is taken.
    """
    if name in _BACKENDS:
        raise InputError(f"depth: the name {name!r} is taken")
    _BACKENDS[name] = factory


def make_depth_estimator(name: str, **params: Any) -> DepthEstimator:
    """
    :param name: one of ``depth_estimator_names()``.
    :param params: the backend's own parameters.
    :raises InputError: for an unknown name or parameter, a missing optional package, and whatever the backend itself
        refuses.
    """
    if name not in _BACKENDS:
        raise InputError(f"depth: expected one of {', '.join(_BACKENDS)}, got {name!r}")
    factory = _BACKENDS[name]
    if isinstance(factory, tuple):
        module, attribute = factory
        try:
            factory = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise InputError(
                f"depth: backend {name!r} needs the package {error.name!r}: pip install -r requirements/models.txt"
            ) from error
    try:
        inspect.signature(factory).bind(**params)
    except TypeError as error:
        raise InputError(f"depth: backend {name!r}: {error}") from error
    return factory(**params)
