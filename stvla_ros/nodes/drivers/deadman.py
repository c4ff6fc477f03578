"""A switch that a person must hold while the arm may move."""

import time

from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool

from stvla_ros.nodes.kit.base import SENSOR_QOS, StvlaNode

KINDS = ("none", "joy", "service")


class Deadman:
    """
    :param node: declares its parameters. Joysticks must repeat (``autorepeat_rate`` of the joy node): a switch that
        says nothing for ``deadman_timeout`` counts as let go.
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        self._kind = node.parameter("deadman", "none", "what must be held while the arm may move", choices=KINDS)
        self._button = node.parameter("deadman_button", 4, "index of the joystick's button", low=0, high=255)
        self._timeout_s = node.parameter(
            "deadman_timeout", 0.5, "seconds after which a silent switch counts as let go", low=0.05, high=10.0
        )
        self._held_until = 0.0

    def serve(self) -> None:
        """Offer the service, where that is the switch. To be called from the node's ``configure``."""
        if self._kind == "service":
            self._node.create_service(SetBool, "~/deadman", self._on_call)

    def subscribe(self) -> None:
        """To be called from the node's ``activate``."""
        self._held_until = 0.0
        if self._kind == "joy":
            self._node.subscribe(Joy, "joy", self._on_joy, SENSOR_QOS)

    @property
    def held(self) -> bool:
        return self._kind == "none" or time.monotonic() < self._held_until

    def _on_joy(self, message: Joy) -> None:
        if self._button >= len(message.buttons):
            self._hold(False)
            count = len(message.buttons)
            self._node.reject(
                "joy", f"topic joy: expected a button {self._button} (deadman_button), got {count} buttons"
            )
        else:
            self._hold(bool(message.buttons[self._button]))

    def _on_call(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._hold(request.data)
        response.success = True
        response.message = f"held for {self._timeout_s:g} s" if request.data else "let go"
        return response

    def _hold(self, held: bool) -> None:
        self._held_until = time.monotonic() + self._timeout_s if held else 0.0
