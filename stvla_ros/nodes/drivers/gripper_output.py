"""Sends a gripper's opening by an action of control_msgs, or by a topic."""

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from std_msgs.msg import Float64, Float64MultiArray

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.base import RELIABLE_QOS
from stvla_ros.nodes.kit.service_sequence import Steps
from stvla_ros.robots.gripper_settings import ACTIONS, GripperSettings

_LOOK_S = 0.02
# Each goal ends the one before, and some grippers stop for that. So a goal is sent when the wanted opening has settled,
# or after it has changed for this long.
_SETTLED_TICKS, _LONGEST_S = 3, 0.5
# Time to wait for the answer to a goal, and pause after a goal that was not accepted.
_ANSWER_S, _RETRY_S = 2.0, 1.0


class GripperOutput:
    """
    :param driver: driver whose node has the publisher or client.
    :param settings: settings of the gripper; None for an arm without one.
    """

    def __init__(self, driver: DriverBase, settings: GripperSettings | None) -> None:
        self._driver, self._settings = driver, settings
        self._client: ActionClient | None = None
        self._publish: Callable[[float], None] | None = None
        self._last: float | None = None
        self.begin()

    def connect(self) -> None:
        """Call this from the driver's ``connect``. :raises InputError: when the action's package is missing."""
        settings, driver = self._settings, self._driver
        if settings is None:
            return
        if settings.interface in ACTIONS:
            self._kind = _action(settings)
            self._client = ActionClient(driver, self._kind, settings.name)
            driver.every(_LOOK_S, self._ask)
        elif settings.interface == "positions":
            positions = driver.create_publisher(Float64MultiArray, settings.name, RELIABLE_QOS)
            self._publish = lambda opening: positions.publish(Float64MultiArray(data=[settings.position_of(opening)]))
        else:
            openings = driver.create_publisher(Float64, settings.name, RELIABLE_QOS)
            self._publish = lambda opening: openings.publish(Float64(data=opening))

    def disconnect(self) -> None:
        """Call this from the driver's ``cleanup``. Safe to call twice."""
        if self._client is not None:
            self._client.destroy()
            self._client = None

    def begin(self) -> None:
        """Forget the previous commands."""
        self._said: float | None = None
        self._wanted: float | None = None
        self._settled = self._waited = 0
        self._answer: Any = None
        self._answer_by = self._retry_at = 0

    def known_opening(self) -> float | None:
        """The measured opening; without measurements, the last commanded one; None if there was no command yet."""
        measured = self._settings is not None and bool(self._settings.finger_joint)
        return self._driver.opening if measured else self._last

    def tell(self, opening: float) -> None:
        """Called in the ticker's thread, at each tick."""
        self._settled = self._settled + 1 if opening == self._wanted else 0
        self._waited = self._waited + 1 if self._said != opening else 0
        self._wanted = opening
        if self._publish is not None and opening != self._said:
            self._said = self._last = opening
            self._publish(opening)

    def check(self) -> Steps:
        """:raises InputError: when nobody would receive it."""
        if self._client is not None and not self._client.server_is_ready():
            raise InputError(self._unserved())
        yield from ()

    def _unserved(self) -> str:
        kind = ACTIONS[self._settings.interface] if self._settings else ""
        return f"action {self._settings.name if self._settings else ''}: expected a server of {kind}, there is none"

    # --- the actions, in the executor's thread, where answers come ----------------------------------------------------

    def _ask(self) -> None:
        wanted, now_ns = self._wanted, self._driver.times.now_ns
        if self._answer is not None:
            self._look_at_answer(now_ns)
            return
        due = self._settled >= _SETTLED_TICKS or self._waited >= _LONGEST_S * self._driver.description.tick_hz
        if self._client is None or wanted is None or wanted == self._said or not due or now_ns < self._retry_at:
            return
        if not self._client.server_is_ready():
            self._retry_at = now_ns + round(_RETRY_S * 1e9)
            self._driver.reject("gripper", self._unserved())
            return
        self._said = self._last = wanted
        self._answer = self._client.send_goal_async(self._goal(wanted))
        self._answer_by = now_ns + round(_ANSWER_S * 1e9)

    def _look_at_answer(self, now_ns: int) -> None:
        settings = self._settings
        name = settings.name if settings else ""
        if self._answer.done():
            problem = "" if self._answer.result().accepted else "the goal was rejected"
        elif now_ns < self._answer_by:
            return
        else:
            problem = f"no answer to a goal within {_ANSWER_S:g} s"
        self._answer = None
        if problem:
            # The gripper may not have it, so it is sent again.
            self._said, self._retry_at = None, now_ns + round(_RETRY_S * 1e9)
            self._driver.reject("gripper", f"action {name}: {problem}")

    def _goal(self, opening: float) -> Any:
        settings, goal = self._settings, self._kind.Goal()
        if settings is None:
            return goal
        position, effort = settings.position_of(opening), settings.max_effort
        if settings.interface == "gripper_command":
            goal.command.position, goal.command.max_effort = position, effort
        else:
            goal.command.name, goal.command.position = [settings.finger_joint], [position]
            goal.command.effort = [effort] if effort else []
        return goal


def _action(settings: GripperSettings) -> Any:
    try:
        from control_msgs import action
    except ImportError:
        raise InputError(
            "the package control_msgs is not installed, which the gripper's action needs: expected "
            "ros-$ROS_DISTRO-control-msgs"
        ) from None
    name = ACTIONS[settings.interface].rpartition("/")[2]
    if not hasattr(action, name):
        raise InputError(f"gripper.interface: {settings.interface} is not in this distribution's control_msgs")
    return getattr(action, name)
