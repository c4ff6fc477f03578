"""An enabling switch that a person must hold while the arm may move."""

import time

from sensor_msgs.msg import Joy
from std_srvs.srv import SetBool

from stvla_ros.nodes.kit.base import SENSOR_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import stamp_ns

# A joystick's clock may be a little ahead, seconds.
_FUTURE_S = 0.1

KINDS = ("none", "joy", "service")


class Deadman:
    """
    :param node: node that declares the parameters. Joysticks must repeat (``autorepeat_rate`` of the joy node): a
        switch without a new message for ``deadman_timeout`` counts as released. A message counts by its stamp. It holds
        nothing if the stamp is missing, old, in the future, or repeated (a stuck publisher, a recording).
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        self._kind = node.parameter("deadman", "none", "what must be held while the arm may move", choices=KINDS)
        self._button = node.parameter("deadman_button", 4, "index of the joystick's button", low=0, high=255)
        self._timeout_s = node.parameter(
            "deadman_timeout", 0.5, "seconds after which a silent switch counts as let go", low=0.05, high=10.0
        )
        self._held_until = 0.0
        self._newest_ns = 0

    def serve(self) -> None:
        """Offer the service, if the switch is a service. Call this from the node's ``configure``."""
        if self._kind == "service":
            self._node.create_service(SetBool, "~/deadman", self._on_call)

    def subscribe(self) -> None:
        """Call this from the node's ``activate``."""
        self._held_until, self._newest_ns = 0.0, 0
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
        elif not message.buttons[self._button]:
            self._hold(False)
        else:
            self._press(stamp_ns(message.header))

    def _press(self, stamp: int) -> None:
        """The button was down at this stamp."""
        age_s = self._node.latency_s(stamp)
        # The clock was set back: the newest stamp so far belongs to another time.
        newest = self._newest_ns if time.monotonic() < self._held_until else 0
        if not -_FUTURE_S <= age_s <= self._timeout_s:
            problem = f"a stamp at most {self._timeout_s:g} s old, got one that is {age_s:.3g} s old"
            self._node.reject("joy", f"topic joy: expected {problem} (0 or 1970: none; if always: set the clocks)")
        elif stamp <= newest:
            self._node.reject("joy", "topic joy: expected newer stamps, got one that does not follow the one before")
        else:
            self._newest_ns = stamp
            self._held_until = time.monotonic() + self._timeout_s - max(age_s, 0.0)

    def _on_call(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._hold(request.data)
        response.success = True
        response.message = f"held for {self._timeout_s:g} s" if request.data else "let go"
        return response

    def _hold(self, held: bool) -> None:
        self._held_until = time.monotonic() + self._timeout_s if held else 0.0
