"""`traces:=beside` live: the action server gives its policy the very traces and depths of the plain pipeline."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from camera_frames import INTRINSICS, PERIOD_NS, scene
from installed_packages import write_package
from live_graph import live_graph
from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import ActionChunk
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.perception.spatial_traces import SpatialTraces
from stvla_ros.perception.trace_cells import trace_vertices
from stvla_ros.policy.inputs import InputsConfig

COUNT = 20
BEGIN = 1_700_000_000_000_000_000
INPUTS = InputsConfig(traces="beside", buffer=10)
# Says what it was given: a digest of the traces in two parts, and how many there are.
POLICY = """
from zlib import crc32

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.perception.trace_cells import trace_vertices
from stvla_ros.policy.base import Answer, Policy


class Telling(Policy):
    name = "telling"

    def __init__(self, checkpoint=""):
        pass

    def predict(self, observation):
        given = observation.picture.traces
        digest = crc32(trace_vertices(given, 224).tobytes())
        told = np.array([digest >> 16, digest & 0xFFFF, given.traces.num_points], float)
        assert observation.picture.depth.shape == observation.picture.rgb.shape[:2]
        return Answer((EndEffectorAction(told, np.zeros(3), 1.0),))
"""


@pytest.mark.parametrize("fused", [False, True], ids=["separate", "fused"])
def test_the_policy_is_given_the_plain_pipelines_traces_bit_for_bit(fused: bool, tmp_path: Path) -> None:
    pictures, depth = scene(COUNT)
    plain = SpatialTraces(INPUTS.perception())
    expected = []
    for i, rgb in enumerate(pictures):
        # The scene recedes: the depth at which a vertex was seen is not the depth that is there now.
        traces = plain.in_depth(plain.step(rgb, BEGIN + i * PERIOD_NS, depth + np.uint16(i)).traces)
        digest = crc32(trace_vertices(traces, 224).tobytes())
        expected.append([digest >> 16, digest & 0xFFFF, traces.traces.num_points])
    assert sum(count > 0 for *_, count in expected) >= 10, "a scene without traces would prove nothing"

    package = tmp_path / "telling"
    write_package(package, "telling", {"telling_policy": POLICY}, {"policies": {"telling": "telling_policy:Telling"}})
    selection = INPUTS.perception().tracking.selection
    tracking = {"buffer": 10, "max_traces": selection.max_traces, "min_difference": selection.min_difference}
    queue = {"queue_size": COUNT}
    server = {
        "policy": "telling",
        "traces": "beside",
        "pacing": "lockstep",
        "stall_timeout": 0.0,
        "execution": "receding",
        "resize": "bicubic",
    }
    with live_graph(tmp_path) as graph:
        if fused:
            graph.start("fused", package=package, perception={**tracking, **queue}, vla_server=server)
        else:
            graph.start("tracker", **tracking, **queue)
            graph.start("depth", **queue)
            graph.start("vla_server", package=package, **server)
        chunks = graph.listen(ActionChunk, "action_chunk")
        graph.connect(image=1 if fused else 3, sensor_depth=1, camera_info=1)
        client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(client.server_is_ready, "action server")
        sent = graph.begin(client.send_goal_async, ExecuteInstruction.Goal(instruction="tell"))
        assert graph.result(sent, "answer to the goal").accepted
        graph.prime(chunks, BEGIN)
        assert graph.call(Trigger, "perception/reset" if fused else "tracker/reset", Trigger.Request()).success
        for index, rgb in enumerate(pictures):
            graph.frame(BEGIN + index * PERIOD_NS, rgb, depth + np.uint16(index), INTRINSICS)
            graph.until(lambda: len(chunks) > index, f"chunk of frame {index}")
    for index, (told, chunk) in enumerate(zip(expected, chunks, strict=True)):
        assert stamp_ns(chunk.header) == BEGIN + index * PERIOD_NS
        first = chunk.actions[0].translation
        assert [first.x, first.y, first.z] == told, f"frame {index}"
