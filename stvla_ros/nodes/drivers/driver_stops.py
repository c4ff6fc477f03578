"""What persons tell a driver: stop, reset, home, rest."""

from collections.abc import Callable
from functools import partial

import numpy as np
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import GO_ON, DriverBase
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS


class DriverStops:
    """The services ``~/estop``, ``~/reset``, ``~/home``, ``~/rest`` and the topic ``estop``.

    :param driver: whose gate is stopped and released.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver

    def serve(self) -> None:
        """Offer the services. To be called from the node's ``configure``."""
        offered = {"estop": lambda: self._estop("service"), "reset": self._reset}
        for name in ("home", "rest"):
            if position := getattr(self._driver.description, name):
                offered[name] = partial(self._driver.move_to, np.array(position))
        for name, act in offered.items():
            self._driver.create_service(Trigger, f"~/{name}", partial(_answer, act))

    def subscribe(self) -> None:
        """To be called from the node's ``activate``."""
        # An emergency stop said before this node came must be heard, and so must one by `ros2 topic pub`.
        for qos in (RELIABLE_QOS, LATCHED_QOS):
            self._driver.subscribe(Bool, "estop", self._on_estop, qos, watched=False)

    def _on_estop(self, message: Bool) -> None:
        if message.data:
            self._estop("topic estop")

    def _estop(self, source: str) -> str:
        self._driver.stop_and_latch("estop", f"emergency stop by the {source}")
        return f"stopped; {GO_ON}"

    def _reset(self) -> str:
        driver = self._driver
        with driver.lock:
            if driver.gate.moving:
                raise InputError("the arm still moves; try again")
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
