"""The action server with a new ST4VLA checkpoint, in a process of its own, is asked about what it sees."""

from pathlib import Path

import numpy as np
import pytest
from live_graph import LiveGraph, live_graph
from node_process import TIMEOUT_S
from rclpy.action import ActionClient
from sensor_msgs.msg import Image
from std_msgs.msg import String

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.messages import array_to_image, image_to_rgb, make_header, stamp_ns
from stvla_ros.policy.families import find_family
from stvla_ros.srv import Ask

RGB = np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("st4vla") / "new"
    find_family("st4vla").create(folder, "tiny", 0)
    return folder


def show(graph: LiveGraph, number: int) -> int:
    """:returns: the stamp of the picture that is shown."""
    stamp = graph.node.get_clock().now().nanoseconds
    header = make_header(stamp, "camera")
    graph.publish("depth", array_to_image(np.ones((96, 128), np.float32), "32FC1", header))
    graph.publish("image", array_to_image(np.roll(RGB, number, axis=1), "rgb8", header))
    return stamp


def question(graph: LiveGraph, text: str) -> Ask.Response:
    return graph.call(Ask, "vla_server/ask", Ask.Request(question=text))


def test_a_network_is_asked_while_it_acts_and_explains_what_it_does(checkpoint: Path, tmp_path: Path) -> None:
    with live_graph(tmp_path) as graph:
        process = graph.start(
            "vla_server",
            policy="stvla",
            checkpoint=str(checkpoint),
            device="cpu",
            traces="none",
            execution="receding",
            pacing="lockstep",
            stall_timeout=0.0,
            explain=True,
            explain_period=0.0,
            explain_questions=["box of what is moved to {task}"],
        )
        commands, drawn = graph.listen(EndEffectorCommand, "command"), graph.listen(Image, "thoughts")
        texts = graph.listen(String, "thought_text")
        early = question(graph, "box of the plate")
        assert not early.success and "none has come yet" in early.message
        for topic in ("image", "depth"):
            graph._publishers[topic] = graph.node.create_publisher(Image, topic, 10)
            graph.until(graph._publishers[topic].get_subscription_count, f"{topic} is subscribed to")
        client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(client.server_is_ready, "action server")
        goal = ExecuteInstruction.Goal(instruction="stack it")
        assert graph.ask(lambda: client.send_goal_async(goal), "goal").accepted
        stamps = []
        for number in range(4):
            stamps.append(show(graph, number))
            graph.until(lambda: len(commands) == len(stamps), f"command {number}; {process.output}", 4 * TIMEOUT_S)
        assert [stamp_ns(command.header) for command in commands] == stamps
        response = question(graph, "box of the plate")
        assert response.success, response.message
        assert stamp_ns(response.header) == stamps[-1] and response.header.frame_id == "image"
        graph.until(lambda: len(drawn) >= 2 and len(texts) >= 2, "the answer and an explanation are shown")
        assert {stamp_ns(message.header) for message in drawn} <= set(stamps)
        assert image_to_rgb(drawn[0], "thoughts").shape == RGB.shape
        assert any(response.answer in message.data for message in texts)
        for text, said in ((" ", "blank text"), ("x" * 10_000_000, "at most 4000 characters, got 10000000")):
            refused = question(graph, text)
            assert not refused.success and said in refused.message and len(refused.message) < 200
        assert len(commands) == len(stamps), "no question moves the robot"
        # A question that is still open does not keep the process.
        open_question = graph.begin(graph._clients["vla_server/ask"].call_async, Ask.Request(question="Where is it?"))
        assert process.interrupt() == 0, process.output
        assert "Traceback" not in process.output
        open_question.cancel()
        client.destroy()
