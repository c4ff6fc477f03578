"""Metric depth of the current frame: one interface, a registry, backends."""

from stvla_ros.perception.depth.base import DepthEstimator
from stvla_ros.perception.depth.registry import DEPTH_ESTIMATORS, make_depth_estimator

__all__ = ["DEPTH_ESTIMATORS", "DepthEstimator", "make_depth_estimator"]
