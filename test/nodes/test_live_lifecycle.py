"""The lifecycle services of the perception nodes, and how node processes end."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from camera_frames import scene
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import Image

from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.messages import stamp_ns

BEGIN = 1_700_000_000_000_000_000
CHAIN = ("tracker", "depth", "compositor")
OUTPUTS = {"tracker": "traces", "depth": "depth", "compositor": "traced_depth", "perception": "traced_depth"}


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[LiveGraph]:
    with live_graph(tmp_path) as graph:
        yield graph


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_nodes_without_autostart_wait_for_the_lifecycle_manager_and_survive_its_whole_repertoire(
    graph: LiveGraph,
) -> None:
    processes = {name: graph.start(name, autostart=False) for name in CHAIN}
    traced = graph.listen(Image, "traced_depth")
    graph.connect()
    for name in CHAIN:
        assert graph.state(name) == "unconfigured"
        graph.says(name, "not active")
    assert not graph.node.count_publishers("traces")
    counts = []
    for round_number in range(3):
        for name in CHAIN:
            assert graph.change_state(name, "configure")
            assert graph.state(name) == "inactive"
            assert graph.change_state(name, "activate")
            assert graph.state(name) == "active"
        graph.connect(image=3, sensor_depth=1, camera_info=1)
        graph.prime(traced, BEGIN + round_number * 10_000_000_000)
        for name in CHAIN:
            publishers = graph.node.get_publishers_info_by_topic(OUTPUTS[name])
            assert [publisher.node_name for publisher in publishers] == [name]
        counts.append([threads(process.pid) for process in processes.values()])
        for name in CHAIN:
            assert graph.change_state(name, "deactivate")
            assert graph.change_state(name, "cleanup")
            assert graph.state(name) == "unconfigured"
        for name in CHAIN:
            graph.until(lambda: not graph.node.count_publishers(OUTPUTS[name]), f"{name} has no publisher")
    assert counts[1] == counts[2], "threads are left behind"
    assert all("Traceback" not in process.output for process in processes.values())


def test_nothing_comes_out_after_a_deactivation(graph: LiveGraph) -> None:
    process = graph.start("tracker", queue_size=100)
    traces = graph.listen(TraceArray, "traces")
    size = (640, 480)
    pictures = scene(20, size)[0] * 5
    # Found once, the service is called without a wait, in the midst of the tracker's work.
    assert graph.change_state("tracker", "deactivate") and graph.change_state("tracker", "activate")
    graph.connect(image=1)
    graph.prime(traces, BEGIN, size)
    for index, picture in enumerate(pictures):
        graph.frame(BEGIN + index * 33_000_000, picture)
    graph.until(lambda: traces, "the first of the frames")
    assert graph.change_state("tracker", "deactivate")
    # What was published just before is still on its way; an active tracker would go on to the last of the pictures.
    graph.until(lambda: not graph.grows(traces, 1.0), "the last of the traces")
    assert len(traces) < len(pictures)
    assert graph.change_state("tracker", "activate")
    graph.connect(image=1)
    stamp = BEGIN + 5_000_000_000

    def sent():
        return graph.frame(stamp, pictures[0]) or time.sleep(0.1) or any(stamp_ns(t.header) == stamp for t in traces)

    graph.until(sent, "traces again")
    assert process.alive()


def test_a_configure_that_fails_leaves_the_node_unconfigured_and_told(graph: LiveGraph) -> None:
    process = graph.start("depth", autostart=False, depth_parameters="{nonsense: 1}")
    for _ in range(2):
        assert not graph.change_state("depth", "configure")
        assert graph.state("depth") == "unconfigured"
    graph.says("depth", "depth: backend 'sensor'")
    assert not graph.node.count_publishers("depth")
    assert process.alive()


def test_a_transition_that_does_not_exist_is_told_and_survived(graph: LiveGraph) -> None:
    process = graph.start("tracker")
    graph.until(lambda: graph.state("tracker") == "active", "active")
    client = graph.node.create_client(ChangeState, "/tracker/change_state")
    assert client.wait_for_service(10.0)
    # rclpy raises instead of answering; without the base's care the node would end here.
    client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    graph.says("tracker", "internal error: RCLError")
    assert process.alive()
    assert graph.state("tracker") == "active"


@pytest.mark.parametrize("executable", [*CHAIN, "fused"])
def test_ctrl_c_ends_a_node_quietly_in_the_middle_of_its_work(executable: str, graph: LiveGraph) -> None:
    parameters = {"input_timeout": 3600.0}
    if executable == "fused":
        server = {"policy": "expert", "input_timeout": 3600.0}
        process = graph.start("fused", perception=parameters, vla_server=server)
    else:
        process = graph.start(executable, **parameters)
    graph.connect(image=1)
    pictures, depth = scene(20)
    sent = itertools.count()

    def at_work() -> bool:
        for picture in pictures:
            graph.frame(BEGIN + next(sent) * 33_000_000, picture, depth)
        return graph.values("perception" if executable == "fused" else executable).get("received", 0) > 0

    graph.until(at_work, "the node to be at work")
    at_work()
    assert process.interrupt() == 0
    assert process.output == ""


def test_sigterm_ends_a_node_quietly(graph: LiveGraph) -> None:
    process = graph.start("tracker", input_timeout=3600.0)
    graph.connect(image=1)
    process.process.terminate()
    assert process.wait() == 0
    assert process.output == ""
