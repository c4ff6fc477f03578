"""Bags of live runs that are damaged, or say what no run could: episodes that hold together, or one clear line."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_message import messages, texts
from builtin_interfaces.msg import Duration, Time
from examples import examples
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from made_bags import SECOND, START, GraphBag, record_episode
from mutations import damaged, only_bad_input
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from stvla_ros.learning.datasets.bags.bag_episodes import find_episodes
from stvla_ros.learning.datasets.bags.graph_messages import GraphTopics
from stvla_ros.msg import ActionChunk, EndEffectorCommand, EpisodeState
from stvla_ros.recordings.bag_files import open_bag
from stvla_ros.recordings.bag_writer import BagWriter

TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/sensor_depth": "sensor_msgs/msg/Image",
    "/command": "stvla_ros/msg/EndEffectorCommand",
    "/action_chunk": "stvla_ros/msg/ActionChunk",
    "/episode_state": "stvla_ros/msg/EpisodeState",
}
# Few, so that frames, commands and states meet.
few_stamps = st.builds(Time, sec=st.sampled_from([0, 1, 2, 3, 1_700_000_000, -1]), nanosec=st.sampled_from([0, 7]))
small = st.floats(-0.1, 0.1) | st.sampled_from([0.0, float("nan"), 1e300])
said = st.one_of(
    *(
        st.tuples(st.just(topic), messages(kind, stamp=few_stamps, **fields))
        for topic, kind, fields in (
            ("/image", Image, {"data": st.just([0] * 3)}),
            ("/sensor_depth", Image, {"data": st.just([0] * 3)}),
            (
                "/command",
                EndEffectorCommand,
                dict.fromkeys("xyz", small) | {"gripper": st.sampled_from([0.0, 1.0])},
            ),
            ("/action_chunk", ActionChunk, {"actions": st.just([]), "period": messages(Duration)}),
            (
                "/episode_state",
                EpisodeState,
                {
                    "phase": st.integers(0, 5),
                    "index": st.integers(0, 2),
                    "step": st.integers(0, 3),
                    "instruction": st.sampled_from(["stack the cubes", ""]) | texts,
                },
            ),
        )
    )
)


def read(bag: Path, instruction: str) -> None:
    with only_bad_input(str(bag)):
        found = find_episodes(bag, GraphTopics(), instruction).episodes
        note(f"{len(found)} episodes, {any(any(episode.actions) for episode in found)}")
        for episode in found:
            assert len(episode.stamps) == len(episode.times) == len(episode.actions)
            assert (np.diff(episode.stamps) > 0).all()
            for action in episode.actions:
                assert action is None or np.isfinite([*action.translation, *action.rotation, action.gripper]).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag of a run of two episodes."""
    folder = tmp_path_factory.mktemp("whole") / "bag"
    with GraphBag(folder) as bag:
        for index in range(2):
            begin = START + 10 * index * SECOND
            record_episode(bag, [begin + step * SECOND // 5 for step in range(3)], index)
    return folder


@pytest.fixture(scope="module")
def said_in_run(run: Path) -> list[tuple[str, bytes]]:
    with open_bag(run) as bag:
        return [(connection.topic, bytes(raw)) for connection, _, raw in bag.messages() if connection.topic in TYPES]


@st.composite
def changed(draw: st.DrawFn, run: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """A run's messages of which some are lost, elsewhere, there twice, damaged, or strange ones between them."""
    run = list(run)
    for _ in range(draw(st.integers(1, 5))):
        place, other = (draw(st.integers(0, len(run) - 1)) for _ in range(2))
        kind = draw(st.sampled_from(["lost", "elsewhere", "twice", "damaged", "strange", "strange"]))
        topic, data = run[place]
        if kind == "lost" and len(run) > 1:
            del run[place]
        elif kind == "elsewhere":
            run.insert(other, run.pop(place))
        elif kind == "twice":
            run.insert(other, run[place])
        elif kind == "damaged":
            run[place] = topic, draw(damaged(data))
        elif kind == "strange":
            topic, message = draw(said)
            run.insert(place, (topic, bytes(serialize_message(message))))
    return run


@examples(quick=15)
@given(data=st.data(), instruction=st.sampled_from(["", "stack the cubes"]))
def test_fuzz_what_a_bag_says(
    said_in_run: list[tuple[str, bytes]], tmp_path: Path, data: Any, instruction: str
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    bag = BagWriter(folder)
    for topic, name in TYPES.items():
        bag.add_topic(topic, name)
    for number, (topic, raw) in enumerate(data.draw(changed(said_in_run))):
        bag.write(topic, START + number, raw)
    bag.close()
    read(folder, instruction)


@examples(quick=15)
@given(data=st.data())
def test_fuzz_a_bag_of_a_run(run: Path, tmp_path: Path, data: Any) -> None:
    folder = tmp_path / "bag"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in run.iterdir():
        content = file.read_bytes()
        (folder / file.name).write_bytes(data.draw(damaged(content)) if file.suffix == ".mcap" else content)
    read(folder, "")
