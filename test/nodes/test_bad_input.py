"""Bad input to the live nodes: one clear line that names the topic; the node lives on to the next good frame.

Each node runs in a process of its own, in a namespace of its own, so that the test is its only partner. What each
broken message is refused with is in test_messages.py.
"""

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from camera_frames import INTRINSICS, scene
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import CameraInfo, Image
from visualization_msgs.msg import MarkerArray

from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.messages import (
    array_to_image,
    image_to_depth,
    make_camera_info,
    make_header,
    message_to_traces,
    stamp_ns,
    traces_to_message,
)
from stvla_ros.perception.types import Traces

SIZE = WIDTH, HEIGHT = 160, 120
SECOND = 1_000_000_000
PICTURES, DEPTH = scene(20, SIZE)
TRACED = np.full((224, 224), 0.8, np.float32)


def good(topic: str, stamp: int) -> Any:
    """A good message of one topic."""
    header = make_header(stamp, "camera")
    if topic == "image":
        return array_to_image(PICTURES[0], "rgb8", header)
    if topic == "sensor_depth":
        return array_to_image(DEPTH, "16UC1", header)
    if topic == "depth":
        return array_to_image(DEPTH * np.float32(1e-3), "32FC1", header)
    if topic == "traced_depth":
        return array_to_image(TRACED, "32FC1", header)
    if topic == "camera_info":
        return make_camera_info(INTRINSICS, WIDTH, HEIGHT, header)
    points = np.array([[[20, 40]], [[30, 50]]], np.float32)
    stamps = np.array([stamp - 1, stamp])
    traces = Traces(points, np.ones((2, 1), bool), np.zeros(1, np.uint32), stamps, SIZE)
    return traces_to_message(traces, header)


class Target:
    """One node under test, and the stamps that it was sent."""

    def __init__(self, graph: LiveGraph, node: str, inputs: tuple[str, ...], output: str, output_type: type) -> None:
        name = "perception" if node == "fused" else node
        self.graph, self.name, self.inputs = graph, f"{node[0]}/{name}", inputs
        self.prefix = f"/{node[0]}/"
        self.process = graph.start(node, node[0], **{name: {"queue_size": 100}})
        self.outputs = graph.listen(output_type, self.prefix + output)
        self.stamp = 1_700_000_000 * SECOND

    def send(self, **replaced: Any) -> int:
        """Send one frame's messages; those given replace the good ones. :return: its stamp."""
        self.stamp += 33_000_000
        for topic in self.inputs:
            message = replaced.get(topic) or good(topic, self.stamp)
            message.header.stamp = make_header(self.stamp, "").stamp
            self.graph.publish(self.prefix + topic, message)
        return self.stamp

    def answered(self, stamp: int) -> Any | None:
        return next((message for message in self.outputs if stamp_ns(message.header) == stamp), None)

    def output(self, stamp: int) -> Any:
        return self.graph.until(
            lambda: self.answered(stamp), f"{self.name} answers stamp {stamp}; {self.process.output}"
        )

    def ready(self) -> None:
        """Wait until the node and the test have found each other."""
        stamps: list[int] = []

        def found() -> bool:
            stamps.append(self.send())
            return any(self.answered(stamp) for stamp in stamps)

        self.graph.until(found, f"{self.name} answers")
        self.output(self.send())

    def errors(self) -> float:
        return sum(value for key, value in self.graph.values(self.name).items() if key.startswith("errors"))

    def refuses(self, topic: str, messages: list[Any], text: str) -> None:
        """Each of the messages is counted as an error, the status names the topic, and a good frame comes through."""
        before = self.errors()
        stamps = []
        for message in messages:
            stamps.append(self.send(**{topic: message}))
            time.sleep(0.02)  # a burst would overflow the queues, which is another test's business
        self.graph.until(lambda: self.errors() == before + len(messages), f"{len(messages)} errors of {self.name}")
        said = self.graph.says(self.name, text)
        assert "\n" not in said
        assert text in self.process.output
        assert not any(self.answered(stamp) for stamp in stamps)
        self.output(self.send())
        assert "Traceback" not in self.process.output


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGraph]:
    with live_graph(tmp_path_factory.mktemp("live")) as graph:
        yield graph


@pytest.fixture(scope="module")
def targets(graph: LiveGraph) -> dict[str, Target]:
    found = {
        "tracker": Target(graph, "tracker", ("image",), "traces", TraceArray),
        "depth": Target(graph, "depth", ("image", "sensor_depth"), "depth", Image),
        "compositor": Target(graph, "compositor", ("camera_info", "image", "depth", "traces"), "traced_depth", Image),
        "fused": Target(graph, "fused", ("camera_info", "image", "sensor_depth"), "traced_depth", Image),
    }
    for target in found.values():
        target.ready()
    return found


def changed(message: Any, **fields: Any) -> Any:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def broken(topic: str) -> list[Image]:
    """Every way in which a picture can be broken."""
    wrong = "32FC3" if topic == "image" else "rgb8"
    return [
        changed(good(topic, 0), encoding=wrong),
        changed(good(topic, 0), encoding="nonsense"),
        changed(good(topic, 0), width=0),
        changed(good(topic, 0), height=0),
        Image(),
        changed(good(topic, 0), data=good(topic, 0).data[:-1]),
        changed(good(topic, 0), data=array("B")),
        changed(good(topic, 0), step=1),
        changed(good(topic, 0), width=2**32 - 1, height=2**32 - 1),
    ]


@pytest.mark.parametrize(
    ("node", "topic"),
    [
        ("tracker", "image"),
        ("depth", "image"),
        ("depth", "sensor_depth"),
        ("compositor", "image"),
        ("compositor", "depth"),
        ("fused", "image"),
        ("fused", "sensor_depth"),
    ],
)
def test_a_broken_picture_is_told_and_survived(node: str, topic: str, targets: dict[str, Target]) -> None:
    targets[node].refuses(topic, broken(topic), f"topic {topic}: expected")


def test_a_picture_too_small_to_track_is_told_and_survived(targets: dict[str, Target]) -> None:
    tiny = array_to_image(PICTURES[0][:8, :8], "rgb8", make_header(0, "camera"))
    targets["tracker"].refuses("image", [tiny], "topic image: rgb: expected at least 32x32 pixels, got 8x8")


def test_sensor_depth_of_another_size_is_told_and_survived(targets: dict[str, Target]) -> None:
    small = array_to_image(DEPTH[:60, :80], "16UC1", make_header(0, "camera"))
    targets["depth"].refuses("sensor_depth", [small], "topic sensor_depth: expected the image's size 160x120")


def test_depth_of_another_size_than_the_traces_is_told_and_survived(targets: dict[str, Target]) -> None:
    small = array_to_image(DEPTH[:60, :80] * np.float32(1e-3), "32FC1", make_header(0, "camera"))
    targets["compositor"].refuses("depth", [small], "topic depth: expected the traced image's size 160x120")


def test_traces_that_do_not_hold_together_are_told_and_survived(targets: dict[str, Target]) -> None:
    spoilt = [
        changed(good("traces", 5), num_points=7),
        changed(good("traces", 5), points=array("f", [float("nan")] * 4)),
        changed(good("traces", 5), image_width=0),
        changed(good("traces", 5), frame_stamps=[make_header(5, "").stamp] * 2),
        TraceArray(),
    ]
    targets["compositor"].refuses("traces", spoilt, "topic traces")


def test_nan_in_sensor_depth_is_legal_and_means_unknown(targets: dict[str, Target]) -> None:
    depth = DEPTH * np.float32(1e-3)
    depth[:, :50] = np.nan
    depth[:, 50:60] = np.inf
    depth[:, 60:70] = -1.0
    target = targets["depth"]
    stamp = target.send(sensor_depth=array_to_image(depth, "32FC1", make_header(0, "camera")))
    out = image_to_depth(target.output(stamp), "depth")
    assert not out[:, :70].any()
    assert np.array_equal(out[:, 70:], depth[:, 70:])


def test_depth_that_is_nan_everywhere_gives_an_empty_map(targets: dict[str, Target]) -> None:
    nothing = array_to_image(np.full((HEIGHT, WIDTH), np.nan, np.float32), "32FC1", make_header(0, "camera"))
    for node, topic in (("depth", "sensor_depth"), ("compositor", "depth")):
        stamp = targets[node].send(**{topic: nothing})
        out = image_to_depth(targets[node].output(stamp), topic)
        assert not out.any()
        assert np.isfinite(out).all()


@pytest.mark.parametrize("node", ["tracker", "fused"])
def test_repeated_and_late_stamps_are_refused_and_told(node: str, targets: dict[str, Target]) -> None:
    target = targets[node]
    newest = target.send()
    target.output(newest)
    before, count = target.errors(), len(target.outputs)
    for stamp, text in ((newest, "repeats"), (newest - SECOND // 2, "runs backwards")):
        target.stamp = stamp - 33_000_000
        target.send()
        target.graph.says(target.name, text)
        assert target.graph.statuses[target.name].message.startswith(f"topic image: stamp {stamp} ns")
    target.graph.until(lambda: target.errors() == before + 2, "two errors")
    target.stamp = newest
    target.output(target.send())
    assert len(target.outputs) == count + 1


def test_a_jump_back_in_time_starts_the_tracker_anew(targets: dict[str, Target]) -> None:
    target = targets["tracker"]
    target.output(target.send())
    target.stamp -= 3600 * SECOND
    restarted = message_to_traces(target.output(target.send()), "traces")
    assert len(restarted.frame_stamps) == 1
    assert "topic image: stamps jumped back" in target.process.output
    assert len(message_to_traces(target.output(target.send()), "traces").frame_stamps) == 2


@pytest.mark.parametrize("node", ["depth", "compositor", "fused"])
def test_a_jump_back_in_time_does_not_stop_a_join(node: str, targets: dict[str, Target]) -> None:
    target = targets[node]
    # Fill the join with frames that never match.
    for index in range(40):
        target.graph.publish(target.prefix + "image", good("image", target.stamp + SECOND + index))
    target.stamp -= 3600 * SECOND
    target.output(target.send())


def test_another_resolution_starts_anew_and_comes_through(targets: dict[str, Target]) -> None:
    target = targets["tracker"]
    target.output(target.send())
    larger = np.tile(PICTURES[0], (2, 2, 1))
    stamp = target.send(image=array_to_image(larger, "rgb8", make_header(0, "camera")))
    traces = message_to_traces(target.output(stamp), "traces")
    assert traces.image_size == (2 * WIDTH, 2 * HEIGHT)
    assert len(traces.frame_stamps) == 1
    back = message_to_traces(target.output(target.send()), "traces")
    assert back.image_size == SIZE


def test_missing_intrinsics_are_told_and_leave_only_the_markers_out(targets: dict[str, Target]) -> None:
    target = targets["compositor"]
    markers = target.graph.listen(MarkerArray, target.prefix + "trace_markers")
    target.graph.until(lambda: target.output(target.send()) and markers, "markers with good intrinsics")
    before = target.errors()
    bad = [CameraInfo(), changed(good("camera_info", 0), k=np.array([-1.0, 0, 0, 0, 1, 0, 0, 0, 1]))]
    for message in bad:
        target.output(target.send(camera_info=message))
        count = len(markers)
        target.output(target.send(camera_info=message))
        assert len(markers) == count
    target.graph.until(lambda: target.errors() >= before + 2, "errors counted")
    target.graph.says(target.name, "topic camera_info: ")
    target.graph.until(lambda: target.output(target.send()) and len(markers) > count, "markers again")


@pytest.mark.parametrize("node", ["tracker", "depth", "compositor", "fused"])
def test_silence_is_told_naming_the_topics(node: str, graph: LiveGraph, targets: dict[str, Target]) -> None:
    for topic in targets[node].inputs:
        graph.says(targets[node].name, f"topic {topic} (/{node[0]}/{topic}): no message for")


def test_all_of_this_killed_nobody(targets: dict[str, Target]) -> None:
    callback: Callable[[Target], bool] = lambda target: target.process.alive()  # noqa: E731
    assert all(map(callback, targets.values()))
    for target in targets.values():
        assert "Traceback" not in target.process.output
