"""Whatever camera and robot say, `stvla doctor` has findings for it, and takes no exception."""

import os
from types import SimpleNamespace
from typing import Any

from any_message import NOW_NS, colour_images, depth_images, messages, wire
from examples import examples
from hypothesis import event as note
from hypothesis import given
from hypothesis import strategies as st
from robot_events import joint_states, poses
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

from stvla_ros.doctor.command import Doctor, DoctorArguments
from stvla_ros.doctor.listener import _Listening
from stvla_ros.doctor.records import Wanted
from stvla_ros.doctor.robot_file import find_robot_file
from stvla_ros.nodes.kit.base import SENSOR_QOS

TOPICS = {
    "image": colour_images(),
    "camera_info": messages(CameraInfo),
    "sensor_depth": depth_images(),
    "wx250s/joint_states": joint_states,
    "tool_pose": poses(),
    "robot_description": messages(String),
}
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "left_finger")


class _Node:
    """Of a node what the listener asks of it."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}
        self._types: dict[str, str] = {}

    def create_subscription(self, kind: type, topic: str, callback: Any, qos: Any) -> None:
        self.callbacks[topic] = callback
        self._types[topic] = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"

    def resolve_topic_name(self, topic: str) -> str:
        return topic

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=NOW_NS))

    def count_publishers(self, topic: str) -> int:
        return 1

    def get_topic_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [(topic, [kind]) for topic, kind in self._types.items()]

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        kind = self._types[topic]
        return [SimpleNamespace(node_name="it", node_namespace="/", topic_type=kind, qos_profile=SENSOR_QOS)]

    def get_service_names_and_types(self) -> list[tuple[str, list[str]]]:
        return [("/wx250s/torque_enable", ["interbotix_xs_msgs/srv/TorqueEnable"])]


received = st.lists(
    st.one_of(*(st.tuples(st.just(topic), kind.map(wire)) for topic, kind in TOPICS.items())), max_size=12
)


@examples(quick=15)
@given(received, st.sampled_from(["widowx", "google_robot", "panda"]))
def test_fuzz_doctor(happened: list[tuple[str, Any]], robot: str) -> None:
    node = _Node()
    wanted = Wanted(
        "image", "camera_info", "sensor_depth", "wx250s/joint_states", JOINTS, "tool_pose", "robot_description"
    )
    listening = _Listening(node, wanted)
    for recorder in listening._recorders.values():
        recorder.recording = True
    for topic, message in happened:
        node.callbacks[topic](message)
    heard = listening._heard({name: recorder.stream(5.0) for name, recorder in listening._recorders.items()})
    doctor = Doctor(DoctorArguments(robot=robot), find_robot_file(robot), dict(os.environ))
    doctor.__dict__["_outcome"] = heard
    for check in (doctor._check_camera, doctor._check_intrinsics, doctor._check_state):
        for finding in check():
            note(finding.level)
            assert len(finding.text.splitlines()) == 1
