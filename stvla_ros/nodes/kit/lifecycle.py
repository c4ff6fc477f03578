"""The lifecycle of every node: build, start, stop, free, and report errors."""

import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from stvla_ros.errors import DeviceLost, InputError
from stvla_ros.missing_packages import missing_package
from stvla_ros.nodes.kit.stage_statistics import StageStatistics
from stvla_ros.nodes.kit.threads import FULL, Item, Worker

# Errors of one kind may come at the camera's rate. In this time the log gets one line of them; the diagnostics count
# all.
LOG_PERIOD_S = 1.0
# Exit code of a process whose GPU can no longer be used by it.
DEVICE_LOST = 3
# Time for a stage's current item to end when the node is deactivated or reset.
IDLE_TIMEOUT_S = 10.0


class ManagedNode(LifecycleNode):
    """A lifecycle node that frees on cleanup what was made on configure, and continues after errors."""

    exit_code: int | None = None
    """Set when the process must end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.stage = StageStatistics()
        self.is_active = False
        self.configure_error = ""
        self._active_entities: list[Callable[[], object]] = []
        self._workers: list[Worker] = []
        self._unconfigured_entities: set[Any] = set()
        self._logged_at: dict[tuple[str, str], float] = {}

    # --- to override ----------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Build what the node needs. :raises InputError: when it cannot be built; the node stays unconfigured."""

    def activate(self) -> None:
        """Subscribe to the inputs."""

    def cleanup(self) -> None:
        """Free what :meth:`configure` built and the base does not know.

        Also called after a :meth:`configure` that failed half-way, and possibly twice.
        """

    # --- lifecycle ------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._unconfigured_entities = {entity for entity, _ in self._entities()}
        try:
            self.configure()
        except Exception as error:
            self._fail("configure", error)
            self._free()
            return TransitionCallbackReturn.FAILURE
        self.configure_error = ""
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self.activate()
        except Exception as error:
            self._fail("activate", error)
            self._stop_inputs()
            return TransitionCallbackReturn.FAILURE
        self.is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_inputs()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.end()
        return TransitionCallbackReturn.SUCCESS

    def end(self) -> None:
        """Stop and free everything, in whatever state the node is. Safe to call twice."""
        self._stop_inputs()
        self._free()

    def start_worker(
        self, name: str, process: Callable[[Item], None], queue_size: int, overflow: str = FULL
    ) -> Worker[Item]:
        """A worker that is idle while the node is inactive, and ends with the cleanup.

        :param overflow: reason under which items are counted that a full queue drops.
        """

        def dropped(reason: str, count: int) -> None:
            self.stage.dropped(overflow if reason == FULL else reason, count)

        worker = Worker(name, process, queue_size, dropped, self.survive)
        self._workers.append(worker)
        return worker

    def offer_reset(self, worker: Worker, reset: Callable[[], None]) -> None:
        """Serve ``~/reset``: forget waiting items, let the current item end, then call ``reset``."""

        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success = worker.run_idle(reset, IDLE_TIMEOUT_S)
            if not response.success:
                response.message = f"the {self.get_name()} was still busy after {IDLE_TIMEOUT_S} s"
            return response

        self.create_service(Trigger, "~/reset", answer)

    def on_stop_inputs(self, destroy: Callable[[], object]) -> None:
        """Call ``destroy`` when the node is deactivated or ends."""
        self._active_entities.append(destroy)

    def _fail(self, action: str, error: Exception) -> None:
        if isinstance(error, InputError):
            self.configure_error = str(error)
        elif line := missing_package(error):
            self.configure_error = f"cannot {action}: {line}"
        else:
            traceback.print_exception(error)
            self.configure_error = f"cannot {action}: {type(error).__name__}: {error}"
        self.get_logger().error(self.configure_error)

    def _stop_inputs(self) -> None:
        self.is_active = False
        while self._active_entities:
            self._active_entities.pop(0)()
        for worker in self._workers:
            worker.run_idle(lambda: None, IDLE_TIMEOUT_S)

    def _entities(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        """Everything that configure() may have made, each with the function that destroys it."""
        kinds = (
            (self.publishers, self.destroy_publisher),
            (self.subscriptions, self.destroy_subscription),
            (self.services, self.destroy_service),
            (self.clients, self.destroy_client),
            (self.timers, self.destroy_timer),
        )
        return [(entity, destroy) for entities, destroy in kinds for entity in entities]

    def _free(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self.cleanup()
        for entity, destroy in self._entities():
            if self._unconfigured_entities and entity not in self._unconfigured_entities:
                destroy(entity)

    # --- errors ---------------------------------------------------------------------------------------------------

    def reject(self, kind: str, message: str) -> None:
        """Count and report an input that cannot be used: at most one line a second of each kind and topic."""
        self.stage.error(kind, message)
        # The logger's own throttle would not do: it counts by line of code, and would swallow a second kind of error.
        if self._may_log(kind, message):
            self.get_logger().error(message)

    def survive(self, error: Exception) -> None:
        """Report an exception from a callback or a worker that would end the thread. The node continues, unless it has
        lost its device.
        """
        if isinstance(error, InputError):
            self.reject("input", str(error))
        elif isinstance(error, DeviceLost):
            # Everything that follows would fail the same way. The program that started this process starts another.
            self.reject("device", str(error))
            self.exit_code = DEVICE_LOST
        elif self.context.ok():  # else publishers fail because the process ends
            message = f"internal error: {type(error).__name__}: {error}"
            self.stage.error("internal", message)
            if self._may_log("internal", message):
                traceback.print_exception(error)
                self.get_logger().error(message)

    def _may_log(self, kind: str, message: str) -> bool:
        # The part before the colon is the subject of the line: a topic, a parameter, a policy.
        key, now = (kind, message.partition(":")[0]), time.monotonic()
        if now - self._logged_at.get(key, -LOG_PERIOD_S) < LOG_PERIOD_S:
            return False
        # Only the last second counts. Keys may contain text from the network, and must not fill the memory.
        self._logged_at = {each: at for each, at in self._logged_at.items() if now - at < LOG_PERIOD_S} | {key: now}
        return True
