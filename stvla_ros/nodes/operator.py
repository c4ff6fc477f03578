"""`stvla do|stop|reset|home|rest`: a person's commands to a running graph, also on machines without a `ros2` command.

They are only clients: the action server and the robot's driver decide. A command that nobody answers is an error.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from rclpy.action import ActionClient
from rclpy.task import Future
from std_srvs.srv import Trigger
from tyro.conf import Positional

from stvla_ros.action import ExecuteInstruction
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.command_node import CommandNode, command_node
from stvla_ros.nodes.kit.messages import seconds_to_duration
from stvla_ros.safe_files import check_instruction
from stvla_ros.settings import Range

# Time for running nodes to be found, and then to answer. A moving gripper or arm takes longer to come to rest, but the
# driver answers at once.
FOUND_WITHIN_S = 5.0
ANSWERED_WITHIN_S = 10.0
# A server that was found may not have found its new client yet; its answer would then be lost.
_SETTLE_S = 0.5
# A stop does not wait for that: it is requested at once, and again until it is answered.
_ASK_AGAIN_S = 1.0
_TRIGGER = "std_srvs/srv/Trigger"
# Every driver has these two services (docs/explanation/safety.md); trackers have a `reset`, too.
_OF_DRIVERS = ("estop", "home")


@dataclass(frozen=True)
class DoArguments:
    """Give the robot an instruction, and wait until it ends. Ctrl-C ends it, and the arm comes to rest."""

    instruction: Positional[str]
    """Instruction for the robot, in quotes."""
    time_limit: Annotated[float, Range(0.0, 86_400.0)] = 0.0
    """Time limit, seconds; 0 for none."""
    namespace: str = ""
    """Namespace of the graph, such as /left; empty for none."""


@dataclass(frozen=True)
class StopArguments:
    """Stop every robot's arm now, and keep it stopped until `stvla reset`."""

    namespace: str = ""
    """Stop only the drivers in this namespace, such as /left; empty for all."""


@dataclass(frozen=True)
class _OneRobot:
    namespace: str = ""
    """Namespace as for `stvla stop`; needed if there are several robots."""


@dataclass(frozen=True)
class ResetArguments(_OneRobot):
    """Let a robot that was stopped go on. Look at it first."""


@dataclass(frozen=True)
class HomeArguments(_OneRobot):
    """Move the arm to its home position."""


@dataclass(frozen=True)
class RestArguments(_OneRobot):
    """Move the arm to a position in which it may lie without power, and leave it there."""


def do(arguments: DoArguments) -> int:
    """:returns: exit code: 0 when the goal ended at its time limit or by Ctrl-C, else 1.

    :raises InputError: when there is no server, or it rejects the goal.
    """
    instruction = check_instruction(arguments.instruction, "instruction")
    if not instruction.strip():
        raise InputError("instruction: expected some words, got none")
    with command_node(arguments.namespace) as operator:
        return _Errand(operator, instruction, arguments.time_limit).run()


def stop(arguments: StopArguments) -> int:
    """:returns: exit code: 0 when every driver has stopped, else 1."""
    with command_node("") as operator:
        return _tell(operator, _drivers(operator, arguments.namespace), "estop")


def reset(arguments: ResetArguments) -> int:
    """:returns: exit code: 0 when the driver has been reset, else 1."""
    return _tell_one(arguments.namespace, "reset")


def home(arguments: HomeArguments) -> int:
    """:returns: exit code: 0 when the driver has begun, else 1."""
    return _tell_one(arguments.namespace, "home")


def rest(arguments: RestArguments) -> int:
    """:returns: exit code: 0 when the driver has begun, else 1."""
    return _tell_one(arguments.namespace, "rest")


def _drivers(operator: CommandNode, namespace: str) -> list[str]:
    """Full names of the running drivers. :raises InputError: when there is none."""

    def found() -> list[str]:
        triggers = {name for name, types in operator.node.get_service_names_and_types() if _TRIGGER in types}
        names = {name.rpartition("/")[0] for name in triggers}
        inside = f"{namespace.rstrip('/')}/"
        return sorted(
            name
            for name in names
            if name.startswith(inside) and all(f"{name}/{service}" in triggers for service in _OF_DRIVERS)
        )

    operator.wait(found, FOUND_WITHIN_S)
    drivers = found()
    if not drivers:
        where = f" in {namespace}" if namespace else ""
        raise InputError(
            f"no robot's driver answers{where}: expected a running graph (stvla robot), with this ROS_DOMAIN_ID"
        )
    return drivers


def _tell_one(namespace: str, service: str) -> int:
    with command_node("") as operator:
        drivers = _drivers(operator, namespace)
        if len(drivers) > 1:
            raise InputError(f"namespace: expected the namespace of one of the robots: {', '.join(drivers)}")
        return _tell(operator, drivers, service)


def _tell(operator: CommandNode, drivers: list[str], service: str) -> int:
    """Call the service of each driver, all at once. :returns: the exit code."""
    clients = {driver: operator.node.create_client(Trigger, f"{driver}/{service}") for driver in drivers}
    ready = [driver for driver, client in clients.items() if operator.wait(client.service_is_ready, FOUND_WITHIN_S)]
    if service != "estop":
        operator.pause(_SETTLE_S)
    answers = {driver: clients[driver].call_async(Trigger.Request()) for driver in ready}
    ends = time.monotonic() + ANSWERED_WITHIN_S
    while not operator.wait(partial(_all_done, answers), _ASK_AGAIN_S) and time.monotonic() < ends:
        if service == "estop":
            silent = [driver for driver, answer in answers.items() if not answer.done()]
            answers |= {driver: clients[driver].call_async(Trigger.Request()) for driver in silent}
    code = 0
    for driver in drivers:
        answer = answers.get(driver)
        if answer is None or not answer.done():
            print(f"error: {driver}/{service}: no answer in {ANSWERED_WITHIN_S:g} s", file=sys.stderr)
            code = 1
        elif not answer.result().success:
            print(f"error: {driver}/{service}: {answer.result().message}", file=sys.stderr)
            code = 1
        else:
            print(f"{driver}: {answer.result().message or f'{service} done'}")
    return code


def _all_done(answers: Mapping[str, Future]) -> bool:
    return all(answer.done() for answer in answers.values())


class _Errand:
    """One goal, from its sending to its end."""

    def __init__(self, operator: CommandNode, instruction: str, time_limit: float) -> None:
        self._operator = operator
        self._client = ActionClient(operator.node, ExecuteInstruction, "execute_instruction")
        self._goal = ExecuteInstruction.Goal(instruction=instruction, time_limit=seconds_to_duration(time_limit))

    def run(self) -> int:
        if not self._operator.wait(self._client.server_is_ready, FOUND_WITHIN_S):
            raise InputError(
                "action execute_instruction: nobody serves it; expected a running graph (stvla robot), with this "
                "ROS_DOMAIN_ID"
            )
        self._operator.pause(_SETTLE_S)
        sent = self._client.send_goal_async(self._goal, feedback_callback=self._show)
        if not self._operator.wait(sent.done, ANSWERED_WITHIN_S):
            raise InputError(f"action execute_instruction: no answer in {ANSWERED_WITHIN_S:g} s")
        handle = sent.result()
        if not handle.accepted:
            raise InputError("action execute_instruction: the goal was rejected; another may be running (stvla stop)")
        ended = handle.get_result_async()
        try:
            self._operator.wait(ended.done, None)
        except KeyboardInterrupt:
            handle.cancel_goal_async()
            if not self._operator.wait(ended.done, ANSWERED_WITHIN_S):
                print("error: the goal did not end; stvla stop stops the arm", file=sys.stderr)
                return 1
        result = ended.result().result
        told = f"{result.reason}; {result.steps} steps, {result.clipped} clipped, {result.refused} refused"
        print(f"{told} ({result.last_refusal})" if result.last_refusal else told)
        good = (ExecuteInstruction.Result.STOPPED, ExecuteInstruction.Result.TIME_LIMIT)
        return 0 if result.outcome in good else 1

    def _show(self, message: Any) -> None:
        feedback = message.feedback
        if feedback.refused:
            print(f"step {feedback.step}: refused, {feedback.refused}", flush=True)
        elif feedback.clipped:
            print(f"step {feedback.step}: clipped by {', '.join(feedback.clipped)}", flush=True)
