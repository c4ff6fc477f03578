"""Metric depth of the current frame: one interface, a registry, backends."""

from stvla_ros.perception.depth.base import DepthEstimator
from stvla_ros.perception.depth.registry import DEPTH_ESTIMATORS, check_depth_estimator, make_depth_estimator

__all__ = ["DEPTH_ESTIMATORS", "DepthEstimator", "check_depth_estimator", "make_depth_estimator"]
