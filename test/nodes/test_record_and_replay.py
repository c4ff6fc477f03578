"""What a bag records is enough to run it again: the same traces and the same actions, bit for bit."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camera_frames import scene
from geometry_msgs.msg import Vector3
from live_graph import LiveGraph, live_graph
from rclpy.action import ActionClient
from sensor_msgs.msg import Image

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import ActionChunk, TraceArray
from stvla_ros.nodes.kit.messages import stamp_ns

COUNT, CAMERA_HZ = 24, 8.0
QUEUE = {"queue_size": COUNT}
# By topic and stamp. The messages, not their bytes: what stands between the fields of a serialized one is anything.
Recorded = Mapping[str, dict[int, Any]]


def run(graph: LiveGraph, **clock: bool) -> Recorded:
    """Start perception and policy, and give the instruction. :returns: what grows as messages come."""
    graph.start("tracker", **QUEUE, **clock)
    graph.start("depth", **QUEUE, **clock)
    graph.start("compositor", **QUEUE, **clock)
    graph.start("vla_server", policy="stvla", execution="receding", **clock)
    heard: dict[str, dict[int, Any]] = {}
    for kind, topic in ((TraceArray, "traces"), (Image, "traced_depth"), (ActionChunk, "action_chunk")):
        heard[topic] = {}

        def keep(message, messages=heard[topic]) -> None:
            messages[stamp_ns(message.header)] = message

        graph.listen(kind, topic, keep)
    client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
    graph.until(client.server_is_ready, "the action server", 60.0)
    goal = ExecuteInstruction.Goal(instruction="put the spoon on the towel")
    assert graph.result(graph.begin(client.send_goal_async, goal), "the answer to the goal").accepted
    return heard


def _motions(chunk: ActionChunk) -> list[tuple[Vector3, Vector3, float]]:
    """Without the goal that they are for: a recording is played for a goal of its own."""
    return [(action.translation, action.rotation, action.gripper) for action in chunk.actions]


def test_a_recorded_run_gives_the_same_traces_and_actions_when_it_is_played(tmp_path: Path) -> None:
    pictures, depth = scene(COUNT)
    (tmp_path / "live").mkdir()
    (tmp_path / "again").mkdir()
    with live_graph(tmp_path / "live") as graph:
        graph.connect()
        recorder = graph.start("bag_recorder", output=str(tmp_path / "bag"))
        live = run(graph)
        graph.connect(image=5, sensor_depth=2, camera_info=2)
        for index, picture in enumerate(pictures):
            graph.frame(graph.node.get_clock().now().nanoseconds, picture, depth)
            time.sleep(1.0 / CAMERA_HZ)
            graph.until(lambda: len(live["traced_depth"]) > index, f"frame {index}")  # at the graph's own pace
        graph.until(lambda: len(live["traced_depth"]) == COUNT and len(live["action_chunk"]) >= 3, "all frames")
        assert recorder.interrupt() == 0
    with live_graph(tmp_path / "again") as graph:
        again = run(graph, use_sim_time=True)
        player = graph.start("replay", source=str(tmp_path / "bag"), image_topic="/image", min_subscribers=4)
        assert player.wait(60.0) == 0
        graph.until(lambda: len(again["traced_depth"]) == COUNT, "all frames again")
    assert again["traces"] == live["traces"]
    assert again["traced_depth"] == live["traced_depth"]
    # Which observations are thought about depends on the pace; the thought does not.
    both = again["action_chunk"].keys() & live["action_chunk"].keys()
    assert len(both) >= 2
    thoughts = [[_motions(chunks["action_chunk"][stamp]) for stamp in both] for chunks in (again, live)]
    assert thoughts[0] == thoughts[1]
    assert any(traces.num_points for traces in live["traces"].values()), "a scene without traces would prove nothing"
