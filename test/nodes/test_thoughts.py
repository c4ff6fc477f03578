"""What a policy thinks leaves the action server, and reaches people: topics, overlay, video."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_graph import LiveGraph, live_graph
from rclpy.action import ActionClient
from sensor_msgs.msg import Image
from std_msgs.msg import String
from thinker import BOX, WAY, thoughts_of
from visualization_msgs.msg import ImageMarker

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import EndEffectorCommand, EpisodeState
from stvla_ros.nodes.kit.base import STATE_QOS
from stvla_ros.nodes.kit.messages import array_to_image, image_to_depth, image_to_rgb, make_header, stamp_ns
from stvla_ros.perception.overlay import DrawnOver, trace_colour
from stvla_ros.policy.drawn_thoughts import draw_thoughts
from stvla_ros.policy.thoughts import Boxes, Points
from stvla_ros.recordings.video_reader import read_video

RGB = np.random.default_rng(3).integers(60, 120, (96, 128, 3), dtype=np.uint8)
PACKAGE = {
    "modules": {"thinking": (Path(__file__).parent / "thinker.py").read_text()},
    "entry_points": {"policies": {"thinker": "thinking:Thinker"}},
}


def test_a_box_is_drawn_where_it_is_and_the_rest_of_the_picture_stays() -> None:
    drawn = draw_thoughts(RGB, {"object": Boxes(np.array([BOX]), ("",))})
    x0, y0, x1, y1 = (int(each) for each in BOX)
    assert drawn[(y0 + y1) // 2, x0].tolist() == drawn[y1, (x0 + x1) // 2].tolist() == list(trace_colour(0))
    changed = np.argwhere((drawn != RGB).any(axis=2))
    assert (changed.min(axis=0) >= (y0 - 2, x0 - 2)).all() and (changed.max(axis=0) <= (y1 + 2, x1 + 2)).all()
    assert np.array_equal(drawn[y0 + 3 : y1 - 2, x0 + 3 : x1 - 2], RGB[y0 + 3 : y1 - 2, x0 + 3 : x1 - 2])


def test_marks_in_another_cameras_picture_are_not_drawn() -> None:
    assert np.array_equal(draw_thoughts(RGB, {"p": Points(np.array([[5.0, 5.0]]), camera="wrist")}), RGB)


def test_marks_far_outside_and_long_texts_leave_a_picture() -> None:
    far = Boxes(np.array([[-1e12, -1e12, 1e12, 1e12]]), ("far",))
    drawn = draw_thoughts(RGB, {"far": far, "text": "word ü " * 100, "lines": "\n" * 100})
    assert drawn.shape == RGB.shape and (drawn != RGB).any()


def test_blank_lines_of_a_text_are_not_drawn() -> None:
    assert np.array_equal(draw_thoughts(RGB, {"answer": "\n \n"}), RGB)


def test_what_was_drawn_over_one_picture_lies_over_another() -> None:
    drawn = draw_thoughts(RGB, {"object": Boxes(np.array([BOX]), ("",))})
    other = np.zeros_like(RGB)
    over = DrawnOver(RGB, drawn).over(other)
    changed = (drawn != RGB).any(axis=2)
    assert np.array_equal(over[changed], drawn[changed])
    assert not over[~changed].any()


def send(graph: LiveGraph, instruction: str) -> list[EndEffectorCommand]:
    """Have the goal answer one picture. :return: the commands that come."""
    commands = graph.listen(EndEffectorCommand, "command")
    client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
    graph.until(client.server_is_ready, "action server")
    assert graph.ask(lambda: client.send_goal_async(ExecuteInstruction.Goal(instruction=instruction)), "goal").accepted
    stamp = graph.node.get_clock().now().nanoseconds
    for topic, message in (
        ("depth", array_to_image(np.ones((96, 128), np.float32), "32FC1", make_header(stamp, "camera"))),
        ("image", array_to_image(RGB, "rgb8", make_header(stamp, "camera"))),
    ):
        graph.publish(topic, message)
    graph.until(lambda: [each for each in commands if stamp_ns(each.header) == stamp], "the command")
    client.destroy()
    return commands


@pytest.mark.parametrize("instruction", ["stack", "confused"])
def test_each_kind_of_thought_is_published_with_its_observations_stamp(
    instruction: str, installed: Any, tmp_path: Path
) -> None:
    with installed(**PACKAGE), live_graph(tmp_path) as graph:
        parameters = {"policy": "thinker", "traces": "none", "pacing": "lockstep"}
        process = graph.start("vla_server", **parameters, stall_timeout=0.0, allow_preemption=True)
        topics = {"thoughts": Image, "thought_marks": ImageMarker, "predicted_image": Image, "predicted_depth": Image}
        got = {topic: graph.listen(kind, topic) for topic, kind in topics.items()}
        texts = graph.listen(String, "thought_text")
        for topic in [*topics, "thought_text"]:
            graph.until(lambda: graph.node.count_publishers(topic), f"{topic}; {process.output}")
        time.sleep(0.5)
        (command,) = send(graph, instruction)
        graph.until(lambda: texts and all(got.values()) and len(got["thought_marks"]) == 3, "all thoughts")
        told = [message for messages in got.values() for message in messages]
        assert {stamp_ns(message.header) for message in told} == {stamp_ns(command.header)}
        expected = thoughts_of(RGB, instruction)
        drawn = image_to_rgb(got["thoughts"][0], "thoughts")
        assert np.array_equal(drawn, draw_thoughts(RGB, expected))
        boxes, way, elsewhere = got["thought_marks"]
        assert (boxes.ns, boxes.type, boxes.header.frame_id) == ("object", ImageMarker.LINE_LIST, "image")
        x0, y0, x1, y1 = BOX
        sides = [(x0, y0), (x1, y0), (x1, y0), (x1, y1), (x1, y1), (x0, y1), (x0, y1), (x0, y0)]
        assert [(point.x, point.y) for point in boxes.points] == sides
        assert (way.ns, way.type) == ("way", ImageMarker.LINE_STRIP)
        assert tuple((point.x, point.y) for point in way.points) == WAY
        assert (elsewhere.type, elsewhere.header.frame_id) == (ImageMarker.POINTS, "wrist")
        assert np.array_equal(image_to_rgb(got["predicted_image"][0], "predicted_image"), 255 - RGB)
        assert (image_to_depth(got["predicted_depth"][0], "predicted_depth") == 0.5).all()
        assert texts[0].data == f"plan: first\n{instruction}"
        if instruction == "confused":
            graph.says("vla_server", "thought what: expected text, Boxes, Points or a PredictedPicture, got int")
        assert "Traceback" not in process.output


def test_the_video_shows_the_thoughts_of_each_frame_over_its_traces(tmp_path: Path) -> None:
    box = {"object": Boxes(np.array([[20.0, 20.0, 100.0, 80.0]]))}
    with live_graph(tmp_path) as graph:
        process = graph.start("episode_recorder", output=str(tmp_path / "run"))
        topics = ("image", "traced_depth", "overlay")
        for topic in (*topics, "thoughts"):
            graph.publish(topic, Image())
            graph.until(lambda: graph._publishers[topic].get_subscription_count(), f"{topic} is subscribed to")
        states = graph.node.create_publisher(EpisodeState, "episode_state", STATE_QOS)
        graph.until(states.get_subscription_count, "episode_state is subscribed to")
        time.sleep(0.5)
        overlay = np.full_like(RGB, 90)
        depth = np.full((224, 224), 0.7, np.float32)
        for number in range(6):
            # Two episodes; nothing is thought in the first three frames and in the second episode.
            header = make_header(10**18 + number, "camera")
            states.publish(EpisodeState(header=header, index=number // 5, phase=EpisodeState.RUNNING))
            time.sleep(0.2)
            pictures = zip(topics, ((RGB, "rgb8"), (depth, "32FC1"), (overlay, "rgb8")), strict=True)
            for topic, (picture, encoding) in pictures:
                graph.publish(topic, array_to_image(picture, encoding, header))
            time.sleep(0.2)
            if number == 3:
                graph.publish("thoughts", array_to_image(draw_thoughts(RGB, box), "rgb8", header))
                time.sleep(0.2)
        published = lambda: graph.values("episode_recorder").get("published", 0) >= 5  # noqa: E731
        graph.until(published, "all but the last frame")
        assert process.interrupt() == 0, process.output
    frames = [frame.rgb for frame in read_video(tmp_path / "run" / "video.mp4")]
    assert len(frames) == 6
    red = [_reddish(frame[:, 2 * frame.shape[1] // 3 :]) for frame in frames]
    assert red[:3] == [0, 0, 0] and red[5] == 0
    assert red[3] > 500 and red[4] > 500


def _reddish(picture: np.ndarray) -> int:
    """Pixels of the first thought's colour, after the video's compression."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return int(((red > green + 60) & (red > blue + 60)).sum())
