"""A robot's reports about itself in a driver: measurements that count, and doubts that stop the arm."""

import time
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.control.safety.contact import ContactWatch
from stvla_ros.control.safety.gate import Setpoint
from stvla_ros.control.safety.giving_way import SetpointTrail
from stvla_ros.control.safety.joint_measurements import ForeignJoints, JointMeasurement, read_joints
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.measurements import Measurements, Overtaken
from stvla_ros.control.safety.supervision import MotionWatch, PlaceWatch, RestWatch
from stvla_ros.control.safety.watches import TrackingWatch
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.endpoints import shown_node_of

# Share of ``tracking_error`` below which an arm agrees with its setpoint: the effect of gravity.
_AGREES = 0.25


class MeasuredState:
    """Used under the driver's lock, except :meth:`read_joints`.

    Doubts stop the arm for good while it is engaged. Before that, they keep it from being taken up: it does not count
    as resting.

    :param driver: driver of the robot.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver, self._limits = driver, driver.description.limits
        self._tracking = TrackingWatch(self._limits.tracking_error, self._limits.tracking_time)
        self._trail = SetpointTrail(_AGREES * self._limits.tracking_error)
        self._topic, self._fault, self._fault_at = "", "", 0.0

    def configure(self, arm: Kinematics) -> None:
        """Call this from the node's ``configure``."""
        names, limits = arm.names, self._limits
        # The gate uses an arm of its own in another thread.
        self._arm = arm.copy()
        self._motion, self._rest, self._place = MotionWatch(names, limits), RestWatch(names, limits), PlaceWatch(limits)
        efforts = [limits.joints[name].effort for name in names]
        self._contact = ContactWatch(names, efforts, limits.joint_state_timeout)

    def forget(self) -> None:
        """Earlier measurements no longer count."""
        self._driver.measurements = Measurements(self._limits.joint_state_timeout)
        self._rest.forget()
        self._motion.forget()
        self._contact.forget()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def read_joints(
        self, message: JointState, joints: Sequence[str], topic: str, also: Sequence[str] = ()
    ) -> JointMeasurement | None:
        """See ``DriverNode.read_joints``."""
        try:
            return read_joints(message.name, message.position, message.effort, joints, also)
        except ForeignJoints as error:
            # Others publish their joints on the same topic. Only silence ends the motion, and not a message about other
            # joints.
            self._driver.reject("joint states", f"topic {topic}: {error}")
        except InputError as error:
            self._driver.reject("joint states", f"topic {topic}: {error}")
            with self._driver.lock:
                self._doubt(topic, str(error))
        return None

    def take(self, position: np.ndarray, opening: float, topic: str, stamp_ns: int, effort: np.ndarray) -> bool:
        """
        :param effort: (n,) efforts, NaN if not measured.
        :returns: whether the measurement counts.
        """
        driver, now = self._driver, time.monotonic()
        self._topic = topic
        try:
            driver.measurements.take(position, opening, stamp_ns, driver.now_ns(), now)
        except Overtaken as error:
            driver.reject(topic, f"topic {topic}: {error}")
            self._doubt(topic, self._motion.overtaken(position, error.by_s))
            return False
        except InputError as error:
            driver.reject(topic, f"topic {topic}: {error}")
            return False
        at = driver.measurements.last.at
        self._rest.take(position, at)
        self._doubt(topic, self._motion.take(position, at))
        contact = self._contact.take(effort, self._driver.gate.moving, now)
        if driver.engaged and not driver.dry_run:
            # In a dry run this driver does not move the arm: its place, and what it touches, are somebody else's doing.
            self._doubt(topic, self._place.take(self._arm.tool_pose(position)[:3, 3]))
            if contact and not driver.latch.closed:
                driver.stop_and_latch("contact", contact)
        return True

    def _doubt(self, topic: str, doubt: str) -> None:
        if not doubt:
            return
        if self._driver.engaged:
            self._driver.stop_and_latch("measured state", f"topic {topic}: {doubt}{self._publishers(topic)}")
        else:
            # Any rest before no longer counts.
            self._rest.forget()
            self._fault, self._fault_at = f"topic {topic}: {doubt}{self._publishers(topic)}", time.monotonic()

    def _publishers(self, topic: str) -> str:
        """The publishers of the topic, as text, if there are several."""
        found = self._driver.get_publishers_info_by_topic(self._driver.resolve_topic_name(topic))
        names = sorted({shown_node_of(each) for each in found})
        return f" (published by {', '.join(names)})" if len(found) > 1 else ""

    # --- what the driver asks -----------------------------------------------------------------------------------------

    def restless(self) -> str:
        """The reason why the arm cannot be taken up at its place; empty when it can."""
        motion = self._rest.motion()
        if motion and self._fault and time.monotonic() - self._fault_at < 1.0:
            return f"waiting: {self._fault}"
        return f"waiting: {motion}{self._publishers(self._topic) if 'moves' in motion else ''}" if motion else ""

    def taken_up(self) -> None:
        """The arm was taken up at its place."""
        self._motion.forget()
        self._motion.take(self._driver.position, self._driver.measurements.last.at)
        self._place.forget()
        self._tracking.reset()
        self._trail.begin(self._driver.position)
        if unwatched := self._contact.unwatched():
            self._driver.get_logger().warning(unwatched)

    def asked(self, setpoint: Setpoint) -> None:
        """The robot's present command. Stops the arm when it does not follow."""
        driver, now = self._driver, time.monotonic()
        tool = setpoint.tool_pose[:3, 3]
        self._place.asked(tool, now)
        if driver.dry_run or not driver.engaged or driver.latch.closed or not driver.fresh:
            return
        self._trail.follow(setpoint.position, driver.position, bool(self._limits.workspace.outside(tool) > 0.0))
        lost = self._tracking.lost(driver.position, setpoint.position, now)
        if lost is not None:
            driver.stop_and_latch("tracking", f"{driver.gate.names[lost]} does not follow")

    def way_back(self) -> tuple[np.ndarray, bool] | None:
        """The position that setpoints may give way to, (n,), and whether it is within the workspace; None if there is
        none.
        """
        position = self._trail.way_back(self._driver.position)
        return None if position is None else (position, not self._trail.led_outside)

    @property
    def contact(self) -> str:
        """Whether contact is watched, as text for the diagnostics."""
        return self._contact.unwatched() or "watched"
