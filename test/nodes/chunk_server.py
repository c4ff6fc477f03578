"""A real action server around a test's own policy, and the test in the place of camera and perception.

What the policy does is told by its instruction: ``key=value`` words. ``think`` is the time of an inference in seconds,
``wait`` a file until which it lasts (``.began`` is added to its name when it begins),
``actions`` how many a chunk has, ``gripper`` what they want one inference after another (``open``/``close`` first
letters). Every action says where it comes from: translation is (stamp of the observation modulo 1000 s in seconds,
index in the chunk, number of the inference).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from installed_packages import write_package
from live_graph import LiveGraph
from node_process import TIMEOUT_S
from rclpy.action import ActionClient
from sensor_msgs.msg import Image

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import ActionChunk, EndEffectorCommand
from stvla_ros.nodes.kit.messages import array_to_image, make_header, stamp_ns

PERIOD_S = 0.2

POLICY = """
import pathlib
import time

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, Policy


class Told(Policy):
    name = "told"

    def __init__(self, checkpoint="", fallback_unnorm_key="", mood="good"):
        if mood != "good":
            raise InputError(f"policy told: mood: expected good, got {mood!r}")
        self.thoughts = 0

    def reset(self):
        self.thoughts = 0

    def predict(self, observation):
        told = dict(word.split("=") for word in observation.instruction.split())
        if told.get("refuse") == "yes":
            raise InputError("policy told: expected a better picture")
        time.sleep(float(told.get("think", 0.0)))
        if "wait" in told:
            pathlib.Path(told["wait"] + ".began").touch()
            while not pathlib.Path(told["wait"]).exists():
                time.sleep(0.01)
        grippers = told.get("gripper", "o")
        opening = 1.0 if grippers[self.thoughts % len(grippers)] == "o" else 0.0
        where = observation.stamp % 10**12 * 1e-9
        chunk = [
            EndEffectorAction(np.array([where, index, self.thoughts]), np.zeros(3), opening)
            for index in range(int(told.get("actions", 4)))
        ]
        if told.get("see") == "yes":
            # What the policy sees: redness of the picture, depth in the corner and its size.
            rgb, depth = observation.picture.rgb, observation.picture.depth
            chunk = [EndEffectorAction(np.array([rgb[..., 0].mean(), depth[0, 0], depth.shape[1]]), np.zeros(3), 1.0)]
        self.thoughts += 1
        return Answer(tuple(chunk))
"""


def install_told(folder: Path) -> Path:
    """:returns: the folder of a package with the policy ``told``."""
    write_package(folder / "told", "told", {"told_policy": POLICY}, {"policies": {"told": "told_policy:Told"}})
    return folder / "told"


class ChunkServer:
    """
    :param package: folder of an installed package with the policy; None for that of ``told``.
    :param parameters: of the server, besides the policy.
    """

    def __init__(self, graph: LiveGraph, folder: Path, package: Path | None = None, **parameters: Any) -> None:
        self.graph = graph
        package = package or install_told(folder)
        parameters = {"policy": "told", "control_hz": 1.0 / PERIOD_S, "stall_timeout": 0.0, **parameters}
        parameters = {"allow_preemption": True, **parameters}
        self.process = graph.start("vla_server", package=package, **parameters)
        self.chunks = graph.listen(ActionChunk, "action_chunk")
        self.commands = graph.listen(EndEffectorCommand, "command")
        self.client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(self.client.server_is_ready, f"action server; {self.process.output}")
        picture, depth = {"none": ("image", "depth"), "rgb": ("overlay", "depth")}.get(
            parameters.get("traces"), ("image", "traced_depth")
        )
        self.topics = (picture, depth)
        self.feedback: list[ExecuteInstruction.Feedback] = []
        for topic in self.topics:
            graph.publish(topic, Image())  # makes the publisher; an empty picture is refused
            graph.until(lambda: graph._publishers[topic].get_subscription_count(), f"{topic} is subscribed to")

    def observe(self, age_s: float = 0.0, rgb: np.ndarray | None = None, depth: np.ndarray | None = None) -> int:
        stamp = self.graph.node.get_clock().now().nanoseconds - round(age_s * 1e9)
        header = make_header(stamp, "camera")
        picture = np.zeros((40, 40, 3), np.uint8) if rgb is None else rgb
        metres = np.ones((224, 224), np.float32) if depth is None else depth
        self.graph.publish(self.topics[1], array_to_image(metres, "32FC1", header))
        self.graph.publish(self.topics[0], array_to_image(picture, "rgb8", header))
        return stamp

    def watch(self, seconds: float, period_s: float = PERIOD_S) -> None:
        """Observe at a camera's rate."""
        began, count = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            self.observe()
            count += 1
            time.sleep(max(began + count * period_s - now, 0.0))

    def watch_until(self, condition: Callable[[], Any], what: str, period_s: float = PERIOD_S) -> None:
        """Observe at a camera's rate until something holds."""
        began, count = time.monotonic(), 0
        while not condition():
            assert time.monotonic() < began + TIMEOUT_S, f"did not happen in {TIMEOUT_S:g} s: {what}"
            self.observe()
            count += 1
            time.sleep(max(began + count * period_s - time.monotonic(), 0.0))

    def send(self, instruction: str) -> Any:
        goal = ExecuteInstruction.Goal(instruction=instruction)
        feedback: list[ExecuteInstruction.Feedback] = []  # of this goal alone
        sent = self.graph.begin(
            self.client.send_goal_async, goal, feedback_callback=lambda message: feedback.append(message.feedback)
        )
        handle = self.graph.result(sent, "answer to the goal")
        assert handle.accepted
        self.commands.clear()
        self.chunks.clear()
        self.feedback = feedback
        return handle

    def cancel(self, handle: Any) -> Any:
        """:return: the goal's result."""
        self.graph.ask(handle.cancel_goal_async, "cancel")
        return self.graph.result(self.graph.begin(handle.get_result_async), "result").result

    def figures(self) -> dict[str, float]:
        return self.graph.values("vla_server")


def source(command: EndEffectorCommand) -> tuple[int, int]:
    """(number of the inference, index in its chunk) of a command that is no mean."""
    return round(command.translation.z), round(command.translation.y)


def latency_s(feedback: ExecuteInstruction.Feedback) -> float:
    """Age of its observation when the server published the command, by the server's own clock."""
    return feedback.latency.sec + feedback.latency.nanosec * 1e-9


def published_s(feedback: ExecuteInstruction.Feedback) -> float:
    """When the server published the command. When it came to be heard of is the machine's business."""
    return stamp_ns(feedback.command.header) * 1e-9 + latency_s(feedback)
