"""Metric depth of the current frame: one interface, a registry, backends."""

from stvla_ros.perception.depth.base import DepthEstimator
from stvla_ros.perception.depth.registry import depth_estimator_names, make_depth_estimator, register_depth_estimator

__all__ = ["DepthEstimator", "depth_estimator_names", "make_depth_estimator", "register_depth_estimator"]
