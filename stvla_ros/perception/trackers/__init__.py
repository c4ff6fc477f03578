"""Point trackers behind one interface. Importing this package imports no network library."""

from stvla_ros.perception.trackers.base import TRACKERS, Tracker, check_tracker, make_tracker

__all__ = ["TRACKERS", "Tracker", "check_tracker", "make_tracker"]
