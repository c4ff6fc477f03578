"""Depth backends by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.perception.depth.base import DepthEstimator
from stvla_ros.perception.depth.networks import NETWORKS
from stvla_ros.plugins import Registry, subclass_of

DEPTH_ESTIMATORS: Registry[type[DepthEstimator]] = Registry(
    kind="depth",
    group="depth",
    built_in={
        "sensor": "stvla_ros.perception.depth.sensor:SensorDepth",
        "constant": "stvla_ros.perception.depth.constant:ConstantDepth",
        "zoedepth": "stvla_ros.perception.depth.zoedepth:ZoeDepth",
        "depth_anything": "stvla_ros.perception.depth.depth_anything:DepthAnything",
    },
    expected="a subclass of DepthEstimator with estimate",
    fits=subclass_of(DepthEstimator),
)


def make_depth_estimator(name: str, **params: Any) -> DepthEstimator:
    """
    :param name: one of ``DEPTH_ESTIMATORS.names()``.
    :param params: parameters of the backend.
    :raises InputError: for an unknown name or parameter, a missing optional package, and anything that the backend
        itself refuses.
    """
    estimator = DEPTH_ESTIMATORS.find(name)
    try:
        inspect.signature(estimator).bind(**params)
    except TypeError as error:
        raise InputError(f"depth: backend {name!r}: {error}") from error
    return estimator(**params)


def check_depth_estimator(name: str, params: Mapping[str, Any]) -> None:
    """Refuse now what :func:`make_depth_estimator` would refuse. Loads and downloads no network.

    :param params: parameters of the backend.
    :raises InputError: as :func:`make_depth_estimator`.
    """
    DEPTH_ESTIMATORS.check(name)
    kind: type[Any] = NETWORKS.get(name) or DEPTH_ESTIMATORS.find(name)
    try:
        inspect.signature(kind).bind(**params)
    except TypeError as error:
        raise InputError(f"depth: backend {name!r}: {error}") from error
    if name in NETWORKS:
        kind(**params).check()
    elif name in DEPTH_ESTIMATORS.built_in():
        kind(**params)
