"""`stvla doctor` in a process of its own, on real nodes in others."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CompressedImage, JointState
from std_msgs.msg import String

from stvla_ros.nodes.kit.base import LATCHED_QOS
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, find_embodiment
from stvla_ros.shared_files import config_directory
from tools.robot_files import write_robot

sys.path.append(str(Path(__file__).parents[1] / "nodes"))
from live_graph import LiveGraph, live_graph
from node_process import NodeProcess

CAMERA = Path(__file__).parent / "fake_camera.py"
ROBOTS = config_directory() / "robots"
WIDOWX = find_embodiment("widowx")
IMAGE, INFO, DEPTH = (
    "/camera/camera/color/image_raw",
    "/camera/camera/color/camera_info",
    "/camera/camera/aligned_depth_to_color/image_raw",
)
STATES = "/wx250s/joint_states"
# The other camera and the other arm, with which something is wrong.
BAD = "/bad"
# The most that a robot's file may allow: what a busy machine delays is no fault of the camera and of the arm.
PATIENT = {"observation_age": 5.0, "joint_state_timeout": 1.0}
BAD_TOPICS = ("--image-topic", BAD + IMAGE, "--camera-info-topic", BAD + INFO, "--depth-topic", BAD + DEPTH)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGraph]:
    """A good camera and a good WidowX, and one each that are not, up and sending."""
    with live_graph(tmp_path_factory.mktemp("live")) as graph:
        settings = {**WIDOWX.driver.settings, "namespace": "bad"}
        bad_arm = str(write_robot(graph.folder / "bad.yaml", settings=settings))
        write_robot(graph.folder / "good.yaml", limits=PATIENT, control_hz=1.0)
        for name, arm, namespace in (
            ("good", {}, ()),
            ("bad", {"robot": bad_arm, "read_failure_share": 0.5}, ("-r", f"__ns:={BAD}")),
        ):
            # After "--" comes what is not ROS' own.
            graph.processes[f"{name} camera"] = NodeProcess(
                "camera", graph.folder, arguments=(*namespace, "--", name), program=CAMERA
            )
            graph.processes[f"{name} arm"] = NodeProcess("fake_xs_arm", graph.folder, arm)
        for topic in (IMAGE, BAD + IMAGE, STATES, f"{BAD}/joint_states"):
            graph.until(lambda: graph.node.count_publishers(topic), f"somebody publishes {topic}")
        yield graph


def diagnose(folder: Path, *options: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """:returns: exit code, and by area (level, what was found)."""
    file = folder / "found.json"
    command = [sys.executable, "-m", "stvla_ros.cli", "doctor", "--seconds", "1", "--json", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert file.is_file(), done.stdout + done.stderr
    areas: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(file.read_text())["findings"]:
        areas.setdefault(finding["area"], []).append((finding["level"], finding["found"]))
    return done.returncode, areas


def errors(found: list[tuple[str, str]]) -> list[str]:
    return [text for level, text in found if level == "error"]


def test_a_good_camera_and_a_good_arm(graph: LiveGraph) -> None:
    robot = str(graph.folder / "good.yaml")
    code, areas = diagnose(graph.folder, "--robot", robot, *"--only ros dds robot camera intrinsics state".split())
    assert code == 0 and not any(errors(found) for found in areas.values()), areas
    assert areas["ros"][0][0] == "ok" and areas["ros"][0][1].startswith("rclpy")
    assert ("ok", "interbotix_xs_msgs is there") in areas["ros"]
    assert areas["dds"][0] == ("ok", f"profile of this package: {config_directory() / 'fastdds.xml'}")
    for topic, facts in ((IMAGE, "160x120, rgb8"), (DEPTH, "160x120, 16UC1"), (DEPTH, "distance, median 0.80 m")):
        assert any(topic in text and facts in text for _, text in areas["camera"]), areas["camera"]
    assert areas["intrinsics"] == [("ok", f"{INFO}: fx 150.0, fy 150.0, cx 79.5, cy 59.5 pixels, for 160x120")]
    assert ("ok", f"{STATES}: the position is within the file's limits") in areas["state"]
    assert ("ok", "4 services that the driver calls are there") in areas["state"]


def test_a_camera_with_wrong_stamps_and_an_arm_with_nan(graph: LiveGraph) -> None:
    robot = str(graph.folder / "bad.yaml")
    code, areas = diagnose(graph.folder, "--robot", robot, *BAD_TOPICS, *"--only camera intrinsics state".split())
    assert code == 1
    found = errors(areas["camera"])
    for topic in (BAD + IMAGE, BAD + DEPTH):
        assert any(text.startswith(f"{topic}: ") and "stamps are repeated" in text for text in found), found
        assert any(text.startswith(f"{topic}: messages are 1.0 hours old when they come") for text in found), found
    assert f"{BAD}{DEPTH}: 80x60 pixels, the picture has 160x120: it is not registered to the picture" in found
    assert "the principal point 318.0, 238.0 is outside the picture" in errors(areas["intrinsics"])[0]
    (nan,) = [text for text in errors(areas["state"]) if "of the messages have a NaN (" in text]
    # Half of them; on a busy machine few come.
    assert 20 < float(nan.removeprefix(f"{BAD}/joint_states: ").partition("%")[0]) < 100


@contextmanager
def repeating(graph: LiveGraph, **messages: object) -> Iterator[None]:
    """Publish these messages, by topic, again and again."""
    ended = threading.Event()

    def publish() -> None:
        while not ended.wait(0.02):
            for topic, message in messages.items():
                graph.publish(topic, message)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_servo_robot_and_its_description_from_topics(graph: LiveGraph) -> None:
    settings = {"twist_topic": "twist", "joint_states_topics": ["joints"], "start_service": "none"}
    file = graph.folder / "servo.yaml"
    write_robot(file, urdf=ROBOT_DESCRIPTION, limits=PATIENT, executable="moveit_servo_driver", settings=settings)
    latched = graph.node.create_publisher(String, ROBOT_DESCRIPTION, LATCHED_QOS)
    latched.publish(String(data=(ROBOTS / "wx250s.urdf").read_text().replace("wx250s/", f"file://{ROBOTS}/wx250s/")))
    joints = JointState(name=WIDOWX.driver.arm.joints, position=[0.0, -1.88, 1.55, 0.0, 0.8, 3.5])
    squeezed = CompressedImage(header=make_header(1, "camera"))
    with repeating(graph, joints=joints, picture=joints, other=squeezed):
        options = ("--image-topic", "picture", "--camera-info-topic", "other", "--depth-topic", "")
        _, areas = diagnose(graph.folder, "--robot", str(file), *"--only camera state".split(), *options)
    assert errors(areas["state"]) == [
        "/joints: wrist_rotate is at 3.500, beyond its limits -3.14159 to 3.14159; the driver will not start"
    ]
    assert ("note", "/joints: shoulder is at -1.880, at its limit; it can only move away from it") in areas["state"]
    assert any(text.startswith("the topic robot_description has the 6 joints") for _, text in areas["state"])
    assert errors(areas["camera"]) == [
        "/picture is a topic of sensor_msgs/msg/JointState, expected sensor_msgs/msg/Image",
        "/other is a topic of sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/CameraInfo",
    ]


def test_a_robot_that_tells_its_tools_pose(graph: LiveGraph) -> None:
    robot = str(write_robot(graph.folder / "google.yaml", robot="google_robot", limits=PATIENT))
    pose = PoseStamped(header=make_header(0, "link_base"))
    pose.pose.position.x, pose.pose.orientation.w = 0.5, 0.5
    with repeating(graph, tool_pose=pose):
        _, areas = diagnose(graph.folder, "--robot", robot, "--only", "state")
    assert errors(areas["state"]) == ["/tool_pose: a quaternion of length 0.500"]
    assert ("ok", "/tool_pose: the position is within the file's limits") in areas["state"]
