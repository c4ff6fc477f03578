"""What a goal's first observation is: newer than the goal, and of the running episode; nothing from before counts."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_frames import INTRINSICS, scene
from chunk_server import ChunkServer, source
from live_graph import LiveGraph, live_graph
from rclpy.qos import DurabilityPolicy, QoSProfile

from stvla_ros.msg import ActionChunk, EpisodeState, TraceArray
from stvla_ros.nodes.kit.messages import array_to_image, make_header, stamp_ns

HOUR_NS = 3600 * 10**9
LATCHED = QoSProfile(depth=16, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[LiveGraph]:
    with live_graph(tmp_path) as graph:
        yield graph


def begin(graph: LiveGraph, folder: Path, **parameters: object) -> ChunkServer:
    # Reliable, so that the very first picture arrives.
    server = ChunkServer(graph, folder, **parameters)
    server.answers = graph.listen(ActionChunk, "action_chunk")  # also those before the goal's acceptance is known
    return server


class Camera:
    """Sends the two halves of an observation one by one, with any stamp."""

    def __init__(self, server: ChunkServer) -> None:
        self.server = server

    def now(self) -> int:
        return self.server.graph.node.get_clock().now().nanoseconds

    def picture(self, stamp: int) -> None:
        message = array_to_image(np.zeros((40, 40, 3), np.uint8), "rgb8", make_header(stamp, "camera"))
        self.server.graph.publish(self.server.topics[0], message)

    def depth(self, stamp: int) -> None:
        message = array_to_image(np.ones((224, 224), np.float32), "32FC1", make_header(stamp, "camera"))
        self.server.graph.publish(self.server.topics[1], message)

    def both(self, stamp: int) -> int:
        self.depth(stamp)
        self.picture(stamp)
        return stamp


def is_answered(server: ChunkServer, stamp: int) -> bool:
    return any(stamp_ns(chunk.header) == stamp for chunk in server.answers)


def refused(server: ChunkServer, what: str) -> None:
    server.graph.until(lambda: server.figures().get(f"dropped ({what})"), f"{what} is counted")


def arrived(server: ChunkServer, messages: int) -> None:
    """Wait until the server has heard so many; how long that takes is the middleware's and the machine's affair."""
    server.graph.until(lambda: server.figures().get("received", 0) >= messages, f"{messages} messages have arrived")


@pytest.mark.parametrize("ahead_s", [0.0, 60.0], ids=["same clock", "camera's clock ahead"])
def test_a_picture_from_before_the_goal_is_refused_when_its_depth_comes_after(
    ahead_s: float, graph: LiveGraph, tmp_path: Path
) -> None:
    server = begin(graph, tmp_path)
    camera = Camera(server)
    before = camera.now() + round(ahead_s * 1e9)
    camera.picture(before)
    arrived(server, 1)
    server.send("actions=1")
    camera.depth(before)
    refused(server, "observation from before its goal")
    after = camera.both(camera.now() + round(ahead_s * 1e9) + 1)
    graph.until(lambda: is_answered(server, after), "the next one is answered")
    assert not is_answered(server, before)


def test_a_picture_taken_before_the_goal_is_refused_when_it_arrives_after(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path)
    camera = Camera(server)
    before = camera.now()
    time.sleep(0.05)
    server.send("actions=1")
    camera.both(before)
    refused(server, "observation from before its goal")
    assert not server.answers


def test_where_any_age_is_acted_on_the_cameras_own_clock_decides(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path, max_observation_age=0.0)
    camera = Camera(server)
    before = camera.both(camera.now() - HOUR_NS)
    arrived(server, 2)
    server.send("actions=1")
    time.sleep(0.3)
    assert not server.answers
    after = camera.both(before + 100_000_000)
    graph.until(lambda: is_answered(server, after), "an observation that is newer by its own clock")


def test_a_source_that_starts_anew_is_newer_than_the_goal(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path, max_observation_age=0.0)
    camera = Camera(server)
    server.send("actions=1")
    first = camera.both(camera.now())
    graph.until(lambda: is_answered(server, first), "the first")
    again = camera.both(first - HOUR_NS)
    graph.until(lambda: is_answered(server, again), "the first of the new time")


def test_a_newer_goal_waits_for_a_newer_picture(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path)
    camera = Camera(server)
    server.send("actions=1 think=0.5")
    first = camera.both(camera.now())
    time.sleep(0.2)
    waiting = camera.both(camera.now())  # behind the inference
    time.sleep(0.1)
    server.send("actions=1")
    time.sleep(0.7)
    assert not server.answers
    after = camera.both(camera.now())
    graph.until(lambda: is_answered(server, after), "the next one")
    assert not {first, waiting} & {stamp_ns(chunk.header) for chunk in server.answers}


class Simulator(Camera):
    """As the bridge: also tells the episodes."""

    def __init__(self, server: ChunkServer) -> None:
        super().__init__(server)
        graph = server.graph
        self._states = graph.node.create_publisher(EpisodeState, "episode_state", LATCHED)
        graph.until(lambda: self._states.get_subscription_count(), "episode_state is subscribed to")

    def say(self, phase: int, stamp: int | None = None) -> int:
        stamp = stamp or self.now()
        self._states.publish(EpisodeState(header=make_header(stamp, "base"), phase=phase))
        time.sleep(0.2)
        return stamp


def test_in_lockstep_the_observation_that_waits_is_answered_and_none_of_the_episode_before(
    graph: LiveGraph, tmp_path: Path
) -> None:
    server = begin(graph, tmp_path, pacing="lockstep")
    simulator = Simulator(server)
    simulator.say(EpisodeState.RESETTING)
    final = simulator.now()
    simulator.say(EpisodeState.SUCCEEDED, final)
    simulator.both(final)
    time.sleep(0.2)
    server.send("actions=1")
    time.sleep(0.3)
    assert not server.answers
    # Of an episode that nobody answered.
    lost = simulator.both(simulator.say(EpisodeState.RESETTING))
    graph.until(lambda: is_answered(server, lost), "the running goal takes the new episode")
    server.cancel(server.send("actions=1"))
    unanswered = simulator.both(simulator.now())
    simulator.say(EpisodeState.RESETTING)
    waiting = simulator.both(simulator.now())
    time.sleep(0.2)
    server.send("actions=1")
    graph.until(lambda: is_answered(server, waiting), "the one that waits")
    assert not is_answered(server, unanswered)


def test_in_lockstep_a_paused_source_without_episodes_gets_its_answer(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path, pacing="lockstep")
    waiting = Camera(server).both(1_000_000_000)
    time.sleep(0.2)
    server.send("actions=1")
    graph.until(lambda: is_answered(server, waiting), "the one that waits")


def test_a_goal_that_outlasts_an_episode_begins_anew_with_the_next(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path, pacing="lockstep", execution="ensemble")
    simulator = Simulator(server)
    server.send("actions=4")

    def command() -> tuple[int, int]:
        count = len(server.commands)
        simulator.both(simulator.now())
        graph.until(lambda: len(server.commands) > count, "a command")
        return source(server.commands[-1])

    for _ in range(2):
        simulator.say(EpisodeState.RESETTING)
        assert command() == (0, 0)  # the policy was reset, and no older chunk votes
        assert command() != (0, 0)


def test_an_inference_that_outlasts_its_episode_moves_nothing(graph: LiveGraph, tmp_path: Path) -> None:
    server = begin(graph, tmp_path, pacing="lockstep")
    simulator = Simulator(server)
    simulator.say(EpisodeState.RESETTING)
    server.send("actions=1 think=0.6")
    simulator.both(simulator.now())
    time.sleep(0.1)
    simulator.say(EpisodeState.RESETTING)
    refused(server, "observation of an episode that is over")
    assert not server.answers and not server.commands


def test_the_tracker_drops_a_frame_of_the_episode_before(graph: LiveGraph) -> None:
    graph.start("tracker")
    traces = graph.listen(TraceArray, "traces")
    pictures, _ = scene(3)
    graph.connect(image=1)
    began = 1_700_000_000_000_000_000
    graph.prime(traces, began)
    states = graph.node.create_publisher(EpisodeState, "episode_state", LATCHED)
    graph.until(lambda: states.get_subscription_count(), "episode_state is subscribed to")
    states.publish(EpisodeState(header=make_header(began + 500, "base"), phase=EpisodeState.RESETTING))
    time.sleep(0.2)
    for stamp in (began + 100, began + 1000):
        graph.frame(stamp, pictures[0], intrinsics=INTRINSICS)
    graph.until(lambda: graph.values("tracker").get("dropped (frame of an earlier episode)") == 1, "it is counted")
    assert [stamp_ns(trace.header) for trace in traces] == [began + 1000]
