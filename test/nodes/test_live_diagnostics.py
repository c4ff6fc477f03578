"""What the live nodes say about themselves, and what they cost at rest."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_frames import scene
from diagnostic_msgs.msg import DiagnosticStatus
from live_graph import LiveGraph, live_graph
from sensor_msgs.msg import Image

from stvla_ros.msg import TraceArray

BEGIN = 1_700_000_000_000_000_000
LIGHT = ("tracker", "depth", "compositor")
MEGABYTE = 1 << 20


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[LiveGraph]:
    with live_graph(tmp_path) as graph:
        yield graph


def test_every_node_tells_its_figures_once_a_second(graph: LiveGraph) -> None:
    for name in (*LIGHT, "vla_server"):
        graph.start(name, **({"policy": "expert"} if name == "vla_server" else {}))
    traced = graph.listen(Image, "traced_depth")
    graph.connect(image=4, sensor_depth=1, camera_info=2)
    graph.prime(traced, BEGIN)
    pictures, depth = scene(12)
    now = graph.node.get_clock().now().nanoseconds
    for index, picture in enumerate(pictures):
        graph.frame(now + index, picture, depth)
        graph.until(lambda: len(traced) > index, "traced depth")
    for name in LIGHT:
        graph.until(lambda: graph.values(name).get("published", 0) >= len(pictures), f"{name} counts its frames")
        values = graph.values(name)
        assert values["received"] >= values["published"]
        assert values["rate_hz"] > 0
        for figure in ("latency", "processing"):
            assert 0 < values[f"{figure}_p50_ms"] <= values[f"{figure}_p99_ms"]
        assert graph.statuses[name].level == DiagnosticStatus.OK, graph.statuses[name]
    graph.until(lambda: graph.values("vla_server").get("received", 0) >= len(pictures), "the server counts its frames")
    graph.until(
        lambda: all(len(graph.status_times[name]) >= 5 for name in (*LIGHT, "vla_server")), "five statuses each"
    )
    for name in (*LIGHT, "vla_server"):
        periods = np.diff(graph.status_times[name])
        assert np.median(periods) == pytest.approx(1.0, abs=0.25)


def test_a_stage_that_is_flooded_drops_the_oldest_and_counts_every_frame(graph: LiveGraph) -> None:
    size = (1280, 960)
    graph.start("tracker", queue_size=2)
    traces = graph.listen(TraceArray, "traces")
    pictures, _ = scene(10, size)
    graph.connect(image=1)
    graph.prime(traces, BEGIN, size)
    graph.until(lambda: graph.values("tracker").get("published"), "figures")
    stamps = itertools.count(BEGIN, 33_000_000)
    sent = BEGIN

    def flooded() -> bool:
        nonlocal sent
        for index in range(40):
            sent = next(stamps)
            graph.frame(sent, pictures[index % len(pictures)])
            time.sleep(0.002)
        told = len(graph.status_times["tracker"])
        graph.until(lambda: len(graph.status_times["tracker"]) > told + 1, "figures of after it")
        return graph.values("tracker").get("dropped (queue full)", 0) > 0

    graph.until(flooded, "dropped frames")
    graph.until(
        lambda: any(t.frame_stamps[-1].nanosec == sent % 10**9 for t in traces), "the newest frame is never dropped"
    )

    def settled() -> bool:
        values = graph.values("tracker")
        return values["received"] == values["published"] + values["dropped"]

    graph.until(settled, "every frame received is published or dropped")


def test_frames_whose_partner_never_comes_are_counted(graph: LiveGraph) -> None:
    graph.start("depth", join_window=3)
    graph.connect(image=1, sensor_depth=1)
    (picture,), _ = scene(1)
    stamps = itertools.count(BEGIN, 33_000_000)

    def counted() -> bool:
        # As many as it takes: the node keeps five that it has not taken yet, and may be slow at its start.
        graph.frame(next(stamps), picture)
        return graph.values("depth").get("dropped (image without partner)", 0) >= 10

    graph.until(counted, "drops")
    assert "topic sensor_depth: no message for" in graph.says("depth", "no message for")


def test_without_a_simulated_clock_diagnostics_come_all_the_same(graph: LiveGraph) -> None:
    graph.start("tracker", use_sim_time=True)
    assert "topic image: no message for" in graph.says("tracker", "topic image")


def test_nodes_without_a_network_load_no_torch_and_stay_small(graph: LiveGraph) -> None:
    processes = {name: graph.start(name) for name in LIGHT}
    traced = graph.listen(Image, "traced_depth")
    size = (640, 480)
    graph.connect(image=3, sensor_depth=1, camera_info=1)
    graph.prime(traced, BEGIN, size)
    pictures, depth = scene(8, size)
    for index, picture in enumerate(pictures):
        graph.frame(BEGIN + index * 33_000_000, picture, depth)
        graph.until(lambda: len(traced) > index, "traced depth")
    for name, process in processes.items():
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "torch" not in maps, name
        smaps = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        fields = dict(line.split(":", 1) for line in smaps.splitlines()[1:])
        kilobytes = {key: int(value.split()[0]) for key, value in fields.items()}
        # Without the shared-memory segments of Fast DDS, which are counted once for the whole machine, in /dev/shm.
        private = (kilobytes["Rss"] - kilobytes.get("Pss_Shmem", 0)) * 1024
        assert private < 200 * MEGABYTE, f"{name}: {private / MEGABYTE:.0f} MB"
