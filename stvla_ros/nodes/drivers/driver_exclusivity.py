"""Finds other publishers on the topics that must have only one: the arm's own topics, and the commands."""

import time

from stvla_ros.control.safety.exclusivity import ExclusiveTopic
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.endpoints import node_of

_PERIOD_S = 0.1


class Exclusivity:
    """:param driver: driver. It is held while a topic has one publisher too many, and stopped when there certainly are
    two.
    """

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver
        self._topics: dict[str, ExclusiveTopic] = {}
        self._of_arm: set[str] = set()

    def serve(self) -> None:
        """Call this from the node's ``configure``, when the publishers exist. The checks run in the executor."""
        self._driver.every(_PERIOD_S, self.look)

    def begin(self) -> None:
        """Call this from the node's ``activate``: the first check comes before anything can move."""
        driver = self._driver
        # A dry run sends the arm nothing, so other publishers do not matter.
        own = () if driver.dry_run else driver.exclusive_topics()
        self._of_arm = {driver.resolve_topic_name(topic) for topic in own}
        node, command = driver.get_fully_qualified_name(), driver.resolve_topic_name("command")
        self._topics = {topic: ExclusiveTopic(topic, node) for topic in self._of_arm}
        self._topics[command] = ExclusiveTopic(command)
        self.look()

    def look(self) -> None:
        """Check all topics. Each one with one publisher too many holds the arm."""
        driver = self._driver
        if driver.gate is None or not self._topics:
            return
        now = time.monotonic()
        found = {
            name: topic.look([node_of(each) for each in driver.get_publishers_info_by_topic(name)], now)
            for name, topic in self._topics.items()
        }
        wrong = {name: each for name, each in found.items() if each.holds}
        with driver.lock:
            driver.contention = "; ".join(each.holds for each in wrong.values())
            if not wrong:
                driver.release_at_rest("second publisher")
                return
            if "second publisher" not in driver.gate.inhibitors:
                driver.get_logger().warning(f"held: {driver.contention}")
            driver.gate.inhibit("second publisher")
            if driver.engaged and not driver.gate.moving and wrong.keys() & self._of_arm:
                # Commanding the arm to stay would pull it back from where the other node moves it.
                driver.lose("not started")
        for each in wrong.values():
            if each.certain:
                driver.stop_and_latch("foreign publisher", each.holds)
