"""The base of every node: parameters, lifecycle with autostart, input watch, diagnostics, and the main function."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from stvla_ros.config import config_directory
from stvla_ros.errors import InputError
from stvla_ros.nodes.stage_statistics import StageStatistics

DIAGNOSTICS_PERIOD_S = 1.0

# REP-2003: sensor data is published reliably and subscribed to with best effort.
SENSOR_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Latched, and deep enough that the states of a short burst (end, finished) never overwrite each other.
EPISODE_STATE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=16,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time or Duration to int nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


class StvlaNode(LifecycleNode):
    """A lifecycle node that configures and activates itself unless ``autostart`` is false.

    Subclasses declare their parameters in ``__init__`` with :meth:`parameter`, build what they need in :meth:`configure`
    (models are loaded and warmed up there), subscribe in :meth:`activate` with :meth:`subscribe`, and free in
    :meth:`cleanup`. Bad input found while running goes to :meth:`reject`; the node lives on.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stage = StageStatistics()
        self._inputs: dict[str, _Input] = {}
        self._active_entities: list[Callable[[], None]] = []
        self.is_active = False
        self.configure_error = ""
        self.autostart = self.parameter("autostart", True, "configure and activate without a lifecycle manager")
        self._input_timeout_s = self.parameter(
            "input_timeout", 2.0, "seconds of silence after which an input is reported as missing", low=0.1, high=3600.0
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE_QOS)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self.publish_diagnostics)

    # --- parameters -----------------------------------------------------------------------------------------------

    def parameter(
        self,
        name: str,
        default: Any,
        description: str,
        *,
        low: float | None = None,
        high: float | None = None,
        choices: Sequence[str] = (),
    ) -> Any:
        """Declare a read-only parameter and return its value.

        :raises InputError: when the given value has the wrong type, lies outside ``low`` .. ``high`` or is not one of ``choices``.
        """
        descriptor = ParameterDescriptor(description=description, read_only=True)
        expected = f"a value like {default!r}"
        if isinstance(default, float) and low is not None:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
            expected = f"a number from {low} to {high}"
        elif isinstance(default, int) and low is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
            expected = f"a whole number from {low} to {high}"
        elif choices:
            descriptor.additional_constraints = expected = "one of: " + ", ".join(choices)
        override = self._parameter_overrides.get(name)
        if isinstance(default, float) and override is not None and override.type_ == Parameter.Type.INTEGER:
            # `-p rate:=1` arrives as an integer; a whole number is a number.
            self._parameter_overrides[name] = Parameter(name, value=float(override.value))
        try:
            value = self.declare_parameter(name, default, descriptor).value
        except (InvalidParameterTypeException, InvalidParameterValueException, ParameterUninitializedException):
            given = self._parameter_overrides[name].value
            raise InputError(f"parameter {name}: expected {expected}, got {given!r}") from None
        if choices and value not in choices:
            raise InputError(f"parameter {name}: expected {expected}, got {value!r}")
        return list(value) if isinstance(default, list) else value

    def check_no_unknown_parameters(self) -> None:
        """:raises InputError: when a parameter was given that this node does not have (rclpy would ignore it)."""
        unknown = [name for name in self._parameter_overrides if not self.has_parameter(name)]
        # QoS overrides are declared by rclpy when the topic is created.
        unknown = [name for name in unknown if not name.startswith("qos_overrides.")]
        if unknown:
            known = ", ".join(sorted(self._parameters))
            raise InputError(f"parameter {unknown[0]}: {self.get_name()} has no such parameter; it has: {known}")

    # --- to override ----------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Build what the node needs. :raises InputError: when it cannot be built; the node stays unconfigured."""

    def activate(self) -> None:
        """Subscribe to the inputs."""

    def cleanup(self) -> None:
        """Free what :meth:`configure` built."""

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.configure()
        except InputError as error:
            self.configure_error = str(error)
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self.configure_error = ""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.activate()
        self.is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.cleanup()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_inputs()
        self.cleanup()
        return TransitionCallbackReturn.SUCCESS

    def _stop_inputs(self) -> None:
        self.is_active = False
        for destroy in self._active_entities:
            destroy()
        self._active_entities.clear()
        self._inputs.clear()

    # --- inputs ---------------------------------------------------------------------------------------------------

    def subscribe(
        self, message_type: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile = RELIABLE_QOS
    ) -> None:
        """Subscribe while the node is active, and report the topic as missing when it falls silent."""
        watch = self.watch_input(topic)

        def received(message: Any) -> None:
            watch.seen()
            callback(message)

        subscription = self.create_subscription(message_type, topic, received, qos)
        self.on_stop_inputs(lambda: self.destroy_subscription(subscription))

    def on_stop_inputs(self, destroy: Callable[[], None]) -> None:
        """Call ``destroy`` when the node is deactivated or ends."""
        self._active_entities.append(destroy)

    def watch_input(self, topic: str) -> "_Input":
        """Watch over an input that comes by other means than :meth:`subscribe`; call ``seen()`` for each message."""
        self._inputs[topic] = watch = _Input(self, topic, self._input_timeout_s)
        return watch

    def reject(self, kind: str, message: str) -> None:
        """Count and report an input that cannot be used: one line, at most one a second of each kind in the log."""
        self.stage.error(kind, message)
        self.get_logger().error(message, throttle_duration_sec=1.0)

    def now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def latency_s(self, stamp_ns: int) -> float:
        """Age of the frame with this stamp, in the node's clock."""
        return (self.now_ns() - stamp_ns) * 1e-9

    # --- diagnostics ----------------------------------------------------------------------------------------------

    def extra_diagnostics(self) -> dict[str, Any]:
        """Further figures of the subclass."""
        return {}

    def publish_diagnostics(self) -> None:
        """Publish this node's status on ``/diagnostics``: counters, rates, latencies, missing inputs, the last error."""
        level, message = DiagnosticStatus.OK, "ok"
        missing = [text for text in (watch.check() for watch in self._inputs.values()) if text]
        if self.configure_error:
            level, message = DiagnosticStatus.ERROR, self.configure_error
        elif error := self.stage.recent_error():
            level, message = DiagnosticStatus.ERROR, error
        elif not self.is_active:
            level, message = DiagnosticStatus.WARN, "not active"
        elif missing:
            level, message = DiagnosticStatus.WARN, "; ".join(missing)
        status = DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=message)
        values = self.stage.values() | self.extra_diagnostics()
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


class _Input:
    """Says once when an input falls silent, and once when it is back."""

    def __init__(self, node: StvlaNode, topic: str, timeout_s: float) -> None:
        self._node = node
        self._topic = topic
        self._timeout_s = timeout_s
        self._last_seen = time.monotonic()
        self._missing = False

    def seen(self) -> None:
        self._last_seen = time.monotonic()
        if self._missing:
            self._missing = False
            self._node.get_logger().info(f"topic {self._topic}: messages again")

    def check(self) -> str | None:
        silent_s = time.monotonic() - self._last_seen
        if silent_s < self._timeout_s:
            return None
        publishers = self._node.count_publishers(self._node.resolve_topic_name(self._topic))
        text = f"topic {self._topic}: no message for {silent_s:.1f} s ({publishers} publishers)"
        # A publisher that is there and silent is normal (a paused simulator); one that is gone deserves a line.
        if not self._missing and not publishers:
            self._missing = True
            self._node.get_logger().warning(text)
        return text


def use_fastdds_profile() -> None:
    """Have Fast DDS use config/fastdds.xml, unless the user named a profile.

    It reads the variables when the participant is created, so calling this before ``rclpy.init`` covers every way of starting.
    """
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(name, str(config_directory() / "fastdds.xml"))


def run(create: Callable[[], StvlaNode] | Sequence[Callable[[], StvlaNode]]) -> None:
    """Run one node, or several in one process, until a signal comes or a node sets ``exit_code``; the main function of every executable.

    Exits with 2 after one clear line when parameters are bad or an autostarted node cannot be configured.
    """
    use_fastdds_profile()
    rclpy.init()
    nodes: list[StvlaNode] = []
    exit_code = 0
    executor = SingleThreadedExecutor()
    try:
        for factory in [create] if callable(create) else create:
            node = factory()
            node.check_no_unknown_parameters()
            nodes.append(node)
            executor.add_node(node)
        for node in nodes:
            if node.autostart:
                if node.trigger_configure() != TransitionCallbackReturn.SUCCESS:
                    raise InputError(node.configure_error or "cannot be configured")
                node.trigger_activate()
        while rclpy.ok() and all(getattr(node, "exit_code", None) is None for node in nodes):
            executor.spin_once(timeout_sec=0.5)
        exit_code = max((getattr(node, "exit_code", None) or 0 for node in nodes), default=0)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        exit_code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        for node in nodes:
            node._stop_inputs()
            node.cleanup()
        rclpy.try_shutdown()
    sys.exit(exit_code)
