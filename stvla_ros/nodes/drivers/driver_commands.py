"""The commands that come to a driver: checked, given to the safety gate, answered with a verdict."""

import time

from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict, EndEffectorCommand
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.messages import command_to_action, stamp_ns


class DriverCommands:
    """:param driver: whose gate takes the commands."""

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver

    def subscribe(self) -> None:
        """To be called from the node's ``activate``."""
        self._driver.subscribe(EndEffectorCommand, "command", self._on_command, watched=False)

    def _on_command(self, message: EndEffectorCommand) -> None:
        driver, started = self._driver, time.monotonic()
        driver.stage.received()
        verdict = CommandVerdict(header=message.header)
        try:
            if message.header.frame_id not in ("", driver.embodiment.base_frame):
                raise InputError(
                    f"topic command: expected frame_id {driver.embodiment.base_frame}, got {message.header.frame_id!r}"
                )
            action = command_to_action(message, "command")
        except InputError as error:
            driver.reject("command", str(error))
            with driver.lock:
                driver.gate.counts["refused: not a command"] += 1
            verdict.refused = str(error)
        else:
            stamp = stamp_ns(message.header)
            with driver.lock:
                made = driver.gate.command(action, stamp, driver.now_ns())
            verdict.executed, verdict.clipped, verdict.refused = made.executed, list(made.clipped), made.refused
            if made.executed:
                driver.stage.published(driver.latency_s(stamp), time.monotonic() - started)
            else:
                driver.stage.dropped(made.refused.partition(":")[0])
        driver.reports.verdict(verdict)
