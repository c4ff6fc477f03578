"""The topic ``estop``: a ``true`` there stops the arm, with any QoS of its publisher, in any state of the driver."""

import time
from typing import Any

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from std_msgs.msg import Bool

from stvla_ros.control.safety.estop import EstopSources
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, SENSOR_QOS

# Time between two checks whether latched sources must be asked again, while a source stops the arm.
_ASK_S = 0.5
TOPIC, OF_ALL = "estop", "/estop"


class EstopTopic:
    """The driver's own topic ``estop`` and, where it is in a namespace, that of all robots, ``/estop``. Each has
    sources of its own: one that falls silent must not be covered by another that speaks.

    :param driver: driver that declares the parameter, and is stopped.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver
        self._heartbeat_s = driver.parameter(
            "estop_heartbeat",
            0.0,
            "seconds of silence on the topic estop after which the arm is stopped; 0: it may be silent",
            low=0.0,
            high=60.0,
        )
        names = (TOPIC,) if driver.get_namespace() == "/" else (TOPIC, OF_ALL)
        self._topics = [_OneTopic(driver, name, self._heartbeat_s) for name in names]

    def listen(self) -> None:
        """To be called from the node's ``configure``: a stop counts also while the driver is starting, or inactive."""
        for topic in self._topics:
            topic.listen(self._heartbeat_s)
        self._driver.every(_ASK_S, self._ask_again)

    def check(self) -> None:
        """Look whether the sources are still there. To be called with the driver's lock, each tick."""
        driver, now = self._driver, time.monotonic()
        heard = [topic for topic in self._topics if topic.sources.ever_heard]
        if not heard and self._heartbeat_s:
            driver.gate.inhibit("estop heartbeat")
            return
        for topic in heard:
            if silence := topic.sources.silence_s(now):
                driver.stop_and_latch(
                    "estop", f"topic {topic.name}: silent for {silence:.2f} s, estop_heartbeat is {self._heartbeat_s:g}"
                )
                return
        driver.release_at_rest("estop heartbeat")

    def still_stopping(self) -> str:
        """Why the arm must not be released; empty when it may be."""
        return next(filter(None, (topic.still_stopping() for topic in self._topics)), "")

    def _ask_again(self) -> None:
        if "estop" in self._driver.latch.causes:
            for topic in self._topics:
                topic.ask_again()


class _OneTopic:
    """:param name: name of the topic, as the driver's node writes it."""

    def __init__(self, driver: DriverBase, name: str, heartbeat_s: float) -> None:
        self._driver, self.name = driver, name
        self.sources = EstopSources(heartbeat_s)
        self._latched: Any = None

    def listen(self, heartbeat_s: float) -> None:
        self.sources = EstopSources(heartbeat_s)
        # The first hears all that is published, the second all that must not be lost on the way, the third what was
        # said before.
        for qos in (SENSOR_QOS, RELIABLE_QOS):
            self._driver.create_subscription(Bool, self.name, self._on_word, qos)
        self._listen_to_latched()
        self.sources.asked(time.monotonic())

    def still_stopping(self) -> str:
        latched, others = self._publishers()
        return self.sources.still_stopping(latched, others, time.monotonic())

    def ask_again(self) -> None:
        if self.sources.ask_again(self._publishers()[0], time.monotonic()):
            self._driver.destroy_subscription(self._latched)
            self._listen_to_latched()

    def _publishers(self) -> tuple[int, int]:
        """Number of publishers that send their message to each new listener, and number of others."""
        driver = self._driver
        found = driver.get_publishers_info_by_topic(driver.resolve_topic_name(self.name))
        latched = sum(
            each.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
            and each.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            for each in found
        )
        return latched, len(found) - latched

    def _on_word(self, message: Bool) -> None:
        self.sources.heard(message.data, time.monotonic())
        self._stop_if(message.data)

    def _on_latched_word(self, message: Bool) -> None:
        self.sources.answered(message.data)
        self._stop_if(message.data)

    def _stop_if(self, stop: bool) -> None:
        if stop:
            self._driver.stop_and_latch("estop", f"emergency stop by the topic {self.name}")

    def _listen_to_latched(self) -> None:
        self._latched = self._driver.create_subscription(Bool, self.name, self._on_latched_word, LATCHED_QOS)
