"""What persons tell a driver: stop, reset, home, rest."""

from collections.abc import Callable
from functools import partial

import numpy as np
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import GO_ON, DriverBase
from stvla_ros.nodes.drivers.estop_topic import EstopTopic


class DriverStops:
    """The services ``~/estop``, ``~/reset``, ``~/home``, ``~/rest`` and the topic ``estop``.

    :param driver: whose gate is stopped and released.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver
        self._topic = EstopTopic(driver)

    def serve(self) -> None:
        """Offer the services, and hear the topic. To be called from the node's ``configure``."""
        self._topic.listen()
        offered = {"estop": self._estop, "reset": self._reset}
        for name in ("home", "rest"):
            if position := getattr(self._driver.description, name):
                offered[name] = partial(self._driver.move_to, np.array(position))
        for name, act in offered.items():
            self._driver.create_service(Trigger, f"~/{name}", partial(_answer, act))

    def check(self) -> None:
        """To be called with the driver's lock, each tick."""
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
            driver.detail = ""
            # Somebody may have moved the arm meanwhile: it is taken up where it is, as at the start.
            driver.lose("not started")
            causes = list(driver.latch.causes)
            driver.latch.open()
            for cause in causes:
                driver.gate.release(cause, driver.now_ns())
        return "released; driver_state says when commands are accepted"


def _answer(act: Callable[[], str], request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    try:
        response.success, response.message = True, act()
    except InputError as error:
        response.success, response.message = False, str(error)
    return response
