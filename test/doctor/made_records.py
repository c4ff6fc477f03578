"""Records of a camera and a robot with nothing wrong, to be broken in one place each, and what is asked of findings."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.records import CameraInfos, Heard, JointStates, Pictures, Poses, Publisher, Stream

IMAGE, INFO, STATES, POSE = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/JointState",
    "geometry_msgs/msg/PoseStamped",
)
BEGIN_NS = 1_700_000_000_000_000_000
SIZE = (640, 480)
MATRIX = np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]])
FRAME = "camera_color_optical_frame"


def make_stream(topic: str, kind: str = IMAGE, count: int = 50, hz: float = 10.0, **changes: Any) -> Stream:
    """``count`` messages at an even rate, 20 ms old when they come."""
    offsets = np.arange(count) / hz
    made = Stream(
        topic,
        kind,
        (Publisher("/driver", kind),),
        (),
        count / hz,
        100.0 + offsets,
        BEGIN_NS + np.round(offsets * 1e9).astype(np.int64),
        np.full(count, 0.02),
        frozenset({FRAME}),
    )
    return dataclasses.replace(made, **changes)


def silent(stream: Stream, *publishers: Publisher) -> Stream:
    """Nothing came."""
    return dataclasses.replace(stream.only(np.zeros(stream.count, bool)), publishers=publishers)


def make_pictures(**changes: Any) -> Pictures:
    return Pictures(make_stream("/image", **changes), frozenset({SIZE}), frozenset({"rgb8"}))


def make_depth(**changes: Any) -> Pictures:
    shares, medians = np.full(10, 0.8), np.full(10, 0.75)
    return Pictures(make_stream("/depth", **changes), frozenset({SIZE}), frozenset({"16UC1"}), "", shares, medians)


def make_infos(**changes: Any) -> CameraInfos:
    return CameraInfos(make_stream("/info", INFO, **changes), MATRIX, (0.0,) * 5, SIZE)


def make_states(joints: tuple[str, ...], position: Iterable[float], count: int = 200) -> JointStates:
    positions = np.tile(np.array(list(position), dtype=np.float64), (count, 1))
    present = np.ones(positions.shape, bool)
    return JointStates(make_stream("/states", STATES, count, 100.0), joints, positions, present, frozenset(joints))


def make_poses(frame: str, count: int = 100) -> Poses:
    stream = make_stream("/pose", POSE, count, 30.0, frame_ids=frozenset({frame}))
    return Poses(stream, np.tile([0.5, 0.0, 0.8], (count, 1)), np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)))


def make_heard(**changes: Any) -> Heard:
    made = Heard(make_pictures(), make_infos(), make_depth(), None, None, "", {}, 0)
    return dataclasses.replace(made, **changes)


def all_good(findings: Iterable[Finding]) -> bool:
    """Whether there is something, and it is all ok."""
    return {finding.level for finding in findings} == {"ok"}


def only(findings: Iterable[Finding], level: str, text: str) -> Finding:
    """The one finding of this level, the text of which has this in it. Notes and oks may be there besides."""
    found = list(findings)
    bad = [finding for finding in found if finding.level in ("warning", "error", level) and finding.level != "ok"]
    assert len(bad) == 1, f"expected one {level}, got {[f'{f.level}: {f.text}' for f in found]}"
    assert bad[0].level == level and text in bad[0].text, f"{bad[0].level}: {bad[0].text}"
    return bad[0]
