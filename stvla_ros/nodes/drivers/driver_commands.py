"""A driver's commands: checks them, passes them to the safety gate, and publishes verdicts."""

import time

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.requests import TooLate, Verdict
from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict, EndEffectorCommand
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.kit.messages import command_to_action, identity_of, stamp_ns
from stvla_ros.nodes.kit.verdicts import tell_moved

# Share of a control period that planning may take when a tick was too short for it, because the machine was busy.
_LONGER_LEAD = 0.4


class DriverCommands:
    """:param driver: driver whose gate takes the commands."""

    def __init__(self, driver: DriverBase) -> None:
        self._driver = driver

    def subscribe(self) -> None:
        """Call this from the node's ``activate``."""
        self._driver.subscribe(EndEffectorCommand, "command", self._on_command, watched=False)

    def _on_command(self, message: EndEffectorCommand) -> None:
        driver, started = self._driver, time.monotonic()
        driver.stage.received()
        verdict = CommandVerdict(header=message.header, goal_id=message.goal_id)
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
            stranger = self._stranger(message)
            made = Verdict(False, refused=stranger) if stranger else self._execute(action, stamp)
            verdict.executed, verdict.clipped, verdict.refused = made.executed, list(made.clipped), made.refused
            tell_moved(verdict, made.moved, driver.now_ns())
            if made.executed:
                driver.stage.published(driver.latency_s(stamp), time.monotonic() - started)
            else:
                driver.stage.dropped(made.refused.partition(":")[0])
        driver.reports.verdict(verdict)

    def _stranger(self, message: EndEffectorCommand) -> str:
        """The reason why the command is not for this robot and its current goal; empty when it is."""
        driver = self._driver
        with driver.lock:
            if driver.run.is_foreign(message.run, "topic command"):
                problem = f"run: expected a command of {driver.run.name}, got one of {message.run}"
            else:
                problem = driver.goals.refusal(identity_of(message), driver.now_ns())
            if problem and (inhibitors := driver.gate.inhibitors):
                # Both reasons are true; a person must first learn what holds the arm.
                return f"held: {', '.join(sorted(inhibitors))}"
            if problem:
                driver.gate.counts[f"refused: {problem.partition(':')[0]}"] += 1
        if problem:
            driver.reject("command", f"topic command: {problem}")
        return problem

    def _execute(self, action: EndEffectorAction, stamp: int) -> Verdict:
        """Execute a command. Ticks continue while the motion is planned. Runs in the executor's thread, where all
        motions are planned.
        """
        driver = self._driver
        ticks = driver.description.tick_hz / driver.embodiment.control_hz
        for lead_ticks in (1, max(1, round(_LONGER_LEAD * ticks))):
            with driver.lock:
                observed, now = driver.times.observed(stamp), driver.times.now_ns
                request = driver.gate.prepare(action, observed, now, lead_ticks)
            planned = driver.gate.plan(request)
            try:
                with driver.lock:
                    return driver.gate.accept(planned, driver.times.now_ns)
            except TooLate as error:
                late = str(error)
        with driver.lock:
            return driver.gate.accept(Verdict(False, refused=late), driver.times.now_ns)
