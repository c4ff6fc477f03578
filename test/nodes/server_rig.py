"""A real action server, and the test in the place of perception and robot."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from camera_frames import INTRINSICS
from live_graph import LiveGraph, live_graph
from rclpy.action import ActionClient
from sensor_msgs.msg import Image

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.msg import ActionChunk, EndEffectorCommand
from stvla_ros.nodes.kit.messages import array_to_image, make_camera_info, make_chunk, make_header, stamp_ns

RGB = np.zeros((120, 160, 3), np.uint8)
TRACED = np.full((224, 224), 0.8, np.float32)
CONTROL_HZ = 5.0
PROPOSAL = CommandIdentity("widowx")
STALL_S = 6.0  # more than a busy machine takes between two commands


class Robot:
    """Sends observations with the expert's answer, and keeps what comes back with its time of arrival."""

    def __init__(self, graph: LiveGraph) -> None:
        self.graph = graph
        # Each answered observation leads to one command, the policy's action itself.
        self.process = graph.start(
            "vla_server",
            policy="expert",
            control_hz=CONTROL_HZ,
            base_frame="base",
            stall_timeout=STALL_S,
            execution="receding",
            # A busy machine may take seconds over one observation.
            max_observation_age=20.0,
            allow_preemption=True,
        )
        self.chunks = graph.listen(ActionChunk, "action_chunk")
        self.commands = graph.listen(EndEffectorCommand, "command")
        self._before = 0
        self.client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(self.client.server_is_ready, "action server")
        self.feedback: list[ExecuteInstruction.Feedback] = []

    def observe(
        self,
        gripper: float = 0.5,
        stamp: int | None = None,
        depth: Image | None = None,
        chunk: ActionChunk | None = None,
    ) -> int:
        stamp = stamp or self.graph.node.get_clock().now().nanoseconds
        header = make_header(stamp, "camera")
        action = EndEffectorAction(np.array([0.01, 0.02, 0.03]), np.array([0.1, 0.2, 0.3]), gripper)
        self.graph.publish(
            "expert_chunk", chunk or make_chunk([action, action], "expert", 0.2, make_header(stamp, "base"), PROPOSAL)
        )
        self.graph.publish("camera_info", make_camera_info(INTRINSICS, 160, 120, header))
        self.graph.publish("image", array_to_image(RGB, "rgb8", header))
        depth = depth or array_to_image(TRACED, "32FC1", header)
        depth.header = header
        self.graph.publish("traced_depth", depth)
        return stamp

    def send(self, instruction: str = "stack the cubes", limit_s: float = 0.0) -> Any:
        """:return: the goal handle, accepted or not."""
        goal = ExecuteInstruction.Goal(instruction=instruction)
        before = len(self.commands)
        goal.time_limit = Duration(sec=int(limit_s), nanosec=round(limit_s % 1 * 1e9))
        sent = self.graph.begin(
            self.client.send_goal_async, goal, feedback_callback=lambda message: self.feedback.append(message.feedback)
        )
        handle = self.graph.result(sent, "answer to the goal")
        if handle.accepted:
            self._before = before
        return handle

    def end(self, handle: Any, timeout_s: float = 30.0) -> Any:
        return self.graph.result(self.graph.begin(handle.get_result_async), "result of the goal", timeout_s)

    def command_for(self, stamp: int) -> EndEffectorCommand:
        found = lambda: next((c for c in self.commands if stamp_ns(c.header) == stamp), None)  # noqa: E731
        return self.graph.until(found, f"command for {stamp}; {self.process.output}")

    def goal_with_commands(self, instruction: str = "stack the cubes") -> Any:
        """A goal that runs, seen by its first command."""
        handle = self.send(instruction)
        assert handle.accepted
        count = len(self.commands)

        def commanded() -> bool:
            self.observe()
            time.sleep(0.02)
            return len(self.commands) > count

        self.graph.until(commanded, "the first command")
        time.sleep(1.5 / CONTROL_HZ)  # the next one may come then
        return handle

    def silent_after(self, result: Any, seconds: float = 0.5) -> None:
        """Observations go on, and no command comes but those that had left by the end of the last goal."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.observe()
            time.sleep(0.02)
        since = lambda: len(self.commands) - self._before  # noqa: E731
        self.graph.until(lambda: since() >= result.steps, "the last command")
        assert since() == result.steps

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """A test, after which the server goes on."""
        self.feedback.clear()
        yield
        assert self.process.alive()
        assert "Traceback" not in self.process.output


@contextmanager
def live_server(folder: Path) -> Iterator[Robot]:
    with live_graph(folder) as graph:
        robot = Robot(graph)
        for topic in ("image", "camera_info", "traced_depth", "expert_chunk"):
            graph.until(lambda: graph.node.count_subscribers(topic), topic)
        yield robot
        robot.client.destroy()
