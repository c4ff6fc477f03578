"""Point trackers behind one interface. Importing this package imports no network library."""

from stvla_ros.perception.trackers.base import Tracker, make_tracker, register_tracker, tracker_names

__all__ = ["Tracker", "make_tracker", "register_tracker", "tracker_names"]
