"""A person's commands to a driver: stop, reset, home, rest, release the gripper."""

from collections.abc import Callable
from functools import partial

import numpy as np
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import GO_ON, DriverBase
from stvla_ros.nodes.drivers.estop_topic import EstopTopic
from stvla_ros.nodes.kit.service_sequence import ServiceSequence

_PERIOD_S = 0.05
_CALL_TIMEOUT_S = 5.0


class DriverStops:
    """The services ``~/estop``, ``~/reset``, ``~/home``, ``~/rest``, ``~/release_gripper`` and the topic ``estop``.

    :param driver: driver whose gate is stopped and released.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver
        self._topic = EstopTopic(driver)
        self._releasing: ServiceSequence | None = None

    def serve(self) -> None:
        """Offer the services, and listen to the topic. Call this from the node's ``configure``."""
        self._topic.listen()
        offered = {"estop": self._estop, "reset": self._reset, "release_gripper": self._release_gripper}
        for name in ("home", "rest"):
            if position := getattr(self._driver.description, name):
                offered[name] = partial(self._driver.move_to, np.array(position))
        for name, act in offered.items():
            self._driver.create_service(Trigger, f"~/{name}", partial(_answer, act))
        self._releasing = None
        self._driver.every(_PERIOD_S, self._go_on)

    def _go_on(self) -> None:
        self._release_when_checked()

    def check(self) -> None:
        """Call this with the driver's lock, at each tick."""
        self._topic.check()

    def _estop(self) -> str:
        self._driver.stop_and_latch("estop", "emergency stop by the service")
        return f"stopped; {GO_ON}"

    def _reset(self) -> str:
        driver = self._driver
        with driver.lock:
            if driver.gate.moving:
                raise InputError("the arm still moves; try again")
            if problem := self._topic.still_stopping():
                raise InputError(f"{problem}; release it first")
            if driver.contention:
                raise InputError(f"{driver.contention}; end the one that is wrong first")
            # An old goal would otherwise continue.
            driver.tell_state()
            driver.detail = ""
            # Somebody may have moved the arm meanwhile: it is taken up at its present position, as at the start.
            driver.lose("not started")
            causes = list(driver.latch.causes)
            driver.latch.open()
            for cause in causes:
                driver.gate.release(cause, driver.times.now_ns)
            # A reset starts nothing: the next motion must be asked for after it.
            driver.goals.retire(driver.now_ns())
        return "released; driver_state says when commands are accepted"

    def _release_gripper(self) -> str:
        driver = self._driver
        if not driver.is_active:
            raise InputError("the driver is not active: activate it, or use the robot's own software")
        if driver.dry_run:
            return "a dry run: nothing is sent"
        self._releasing = ServiceSequence(driver.check_gripper(), _CALL_TIMEOUT_S)
        if problem := self._release_when_checked():
            raise InputError(problem)
        return "the gripper opens" + (" as soon as the robot has answered" if self._releasing else "")

    def _release_when_checked(self) -> str:
        """:returns: reason why the gripper cannot be opened; empty when it can, or when it is not known yet."""
        if self._releasing is None:
            return ""
        driver, problem = self._driver, ""
        try:
            self._releasing.poll()
            if not self._releasing.done:
                return ""
            with driver.lock:
                driver.gate.release_gripper()
            driver.get_logger().warning("the gripper opens: ~/release_gripper was called")
        except InputError as error:
            problem = str(error)
            driver.reject("release_gripper", problem)
        self._releasing = None
        return problem


def _answer(act: Callable[[], str], request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    try:
        response.success, response.message = True, act()
    except InputError as error:
        response.success, response.message = False, str(error)
    return response
