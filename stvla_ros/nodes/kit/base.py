"""The base of every node: parameters, lifecycle with autostart, input watch, diagnostics, and the main function."""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from stvla_ros.errors import InputError
from stvla_ros.freed_memory import keep_freed_memory
from stvla_ros.middleware import knows_ranges
from stvla_ros.nodes.kit.input_watch import InputWatch
from stvla_ros.nodes.kit.lifecycle import ManagedNode
from stvla_ros.nodes.kit.run_identity import RunIdentity
from stvla_ros.nodes.kit.stop_signals import StopSignals
from stvla_ros.shared_files import config_directory

DIAGNOSTICS_PERIOD_S = 1.0
# A user who has set one of these has decided which nodes may be heard: the range, its older name, or a discovery
# server.
_DISCOVERY_VARIABLES = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_DISCOVERY_SERVER")

# REP-2003: sensor data is published reliably and subscribed to with best effort.
SENSOR_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# Latched, and deep enough that the states of a short burst (an episode's end, a stop that is reset at once) never
# overwrite each other.
STATE_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=16,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class StvlaNode(ManagedNode):
    """A lifecycle node that configures and activates itself unless ``autostart`` is false.

    All parameters are read once, when the process starts. Setting one later is refused, in any state of the lifecycle:
    a node would otherwise report another value than it was configured with. That includes ``use_sim_time``, which rclpy
    declares.

    Subclasses declare their parameters in ``__init__`` with :meth:`parameter`. They build what they need in
    :meth:`configure`: models are loaded and warmed up there; publishers, services, timers and workers made there end
    with the cleanup. They subscribe in :meth:`activate` with :meth:`subscribe`, and free everything else in
    :meth:`cleanup`. Bad input at run time goes to :meth:`reject`; the node continues.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._inputs: dict[str, InputWatch] = {}
        self.add_on_set_parameters_callback(self._refuse_changes)
        self.autostart = self.parameter("autostart", True, "configure and activate without a lifecycle manager")
        self._input_timeout_s = self.parameter(
            "input_timeout", 2.0, "seconds of silence after which an input is reported as missing", low=0.1, high=3600.0
        )
        run_of = "the run that the node belongs to, its folder; what another one says is ignored; empty: nothing is"
        self.run = RunIdentity(self, self.parameter("run", "", run_of))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE_QOS)
        self.every(DIAGNOSTICS_PERIOD_S, self.publish_diagnostics)

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

        :raises InputError: when the given value has the wrong type, lies outside ``low`` .. ``high`` or is not one of
            ``choices``.
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

    def _refuse_changes(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            # While a parameter is being declared, it does not exist yet.
            if self.has_parameter(parameter.name):
                reason = f"parameter {parameter.name}: expected at the start; start {self.get_name()} anew to change it"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def check_no_unknown_parameters(self) -> None:
        """:raises InputError: when a parameter was given that this node does not have (rclpy would ignore it)."""
        unknown = [name for name in self._parameter_overrides if not self.has_parameter(name)]
        # QoS overrides are declared by rclpy when the topic is created.
        unknown = [name for name in unknown if not name.startswith("qos_overrides.")]
        if unknown:
            known = ", ".join(sorted(self._parameters))
            raise InputError(f"parameter {unknown[0]}: {self.get_name()} has no such parameter; it has: {known}")

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Call back periodically, on the machine's clock: a simulated time that stands still must not silence a
        node.
        """
        self.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # --- inputs ---------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        qos: QoSProfile = RELIABLE_QOS,
        *,
        watched: bool = True,
        several: bool = False,
    ) -> None:
        """Subscribe while the node is active.

        :param watched: report the topic as missing when it falls silent. Not for what is usually silent: a stop button.
        :param several: more than one node may publish there; else a second one is reported, where it is watched.
        """
        watch = self.watch_input(topic, several) if watched else None

        def received(message: Any) -> None:
            if watch is not None:
                watch.seen()
            callback(message)

        subscription = self.create_subscription(message_type, topic, received, qos)
        self.on_stop_inputs(lambda: self.destroy_subscription(subscription))

    def watch_input(self, topic: str, several: bool = False) -> InputWatch:
        """Watch over an input that comes by other means than :meth:`subscribe`; call ``seen()`` for each message."""
        self._inputs[topic] = watch = InputWatch(self, topic, self._input_timeout_s, several)
        self.on_stop_inputs(lambda: self._inputs.pop(topic, None))
        return watch

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
        """Publish this node's status on ``/diagnostics``: counters, rates, latencies, missing inputs, the last
        error.
        """
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
        status.hardware_id = self.run.name
        values = self.stage.values() | self.extra_diagnostics()
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def set_dds_defaults() -> None:
    """Make Fast DDS use config/fastdds.xml, and talk only to nodes of this machine, unless the user decided otherwise.

    The variables are read when the participant is created, so calling this before ``rclpy.init`` covers every way of
    starting. docs/how-to/two-computers.md says how to use several computers.
    """
    decided = any(os.environ.get(name) for name in _DISCOVERY_VARIABLES)
    alone = not decided or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    profile = "fastdds_this_machine.xml" if alone and not knows_ranges(os.environ) else "fastdds.xml"
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(name, str(config_directory() / profile))
    if not decided:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def run(create: Callable[[], StvlaNode] | Sequence[Callable[[], StvlaNode]]) -> None:
    """Run one node, or several in one process, until a signal comes or a node sets ``exit_code``; the main function
    of every executable.

    Exits with 2 after one clear line when parameters are bad or an autostarted node cannot be configured.
    """
    keep_freed_memory()
    set_dds_defaults()
    exit_code = _run_until_the_end(create)
    # The nodes hold one another in circles: collected, they take their participants and shared memory with them.
    gc.collect()
    # Nothing is left to be done. While the interpreter ends, threads of the middleware and of networks still run, and
    # now and then one meets what is already gone: the exit code would be a segmentation fault's in place of the node's.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _run_until_the_end(create: Callable[[], StvlaNode] | Sequence[Callable[[], StvlaNode]]) -> int:
    """:returns: the exit code."""
    nodes: list[StvlaNode] = []
    exit_code = 0
    signals = StopSignals()
    try:
        # rclpy's own handlers end the context, and with it every publisher: a driver could no longer stop its arm.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        for factory in [create] if callable(create) else create:
            node = factory()
            nodes.append(node)
            node.check_no_unknown_parameters()
            executor.add_node(node)
        exit_code = 0 if all(_autostart(node) for node in nodes) else 2
        signals.wake(lambda: end_wait(executor))
        while not exit_code and not signals.stop and rclpy.ok() and not any(_wants_to_end(node) for node in nodes):
            _spin_once(executor, nodes[0])
        exit_code = max([exit_code, *(getattr(node, "exit_code", None) or 0 for node in nodes)])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        exit_code = 2
    except rclpy_implementation.RCLError as error:
        # rcl's own errors: arguments or a parameter file that it cannot read.
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
        exit_code = 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signals.ignore()
        for node in nodes:
            try:
                node.end()
            except Exception:
                traceback.print_exc()
            node.destroy_node()
        rclpy.try_shutdown()
    return exit_code


def _autostart(node: StvlaNode) -> bool:
    """Whether the node has reached its state for the start. If not, the log already says why."""
    if not node.autostart:
        return True
    configured = node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    return configured and node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def end_wait(executor: SingleThreadedExecutor) -> None:
    """Make the executor's ``spin_once`` return now; may be called from any thread. Its own ``wake`` only makes it look
    for new entities, and wait on.
    """
    executor.create_task(lambda: None)


def _wants_to_end(node: StvlaNode) -> bool:
    return getattr(node, "exit_code", None) is not None


def _spin_once(executor: SingleThreadedExecutor, node: StvlaNode) -> None:
    try:
        executor.spin_once(timeout_sec=0.5)
    except ExternalShutdownException:
        raise
    except Exception as error:
        node.survive(error)
