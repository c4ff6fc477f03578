"""The arm at rest in a bag, with the pictures of these times."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.perception.calibration import CameraCalibration, is_rectified
from stvla_ros.recordings.bag import Bag
from stvla_ros.recordings.bag_files import is_bag, open_bag
from stvla_ros.recordings.bag_joints import JOINT_STATE_TYPE, TEXT_TYPE, first_text, read_positions
from stvla_ros.recordings.bag_reader import read_bag
from stvla_ros.recordings.bag_topics import NONE, BagTopics, choose_camera
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, Embodiment
from stvla_ros.robots.resting import MOST_PICTURES, Rest, RestingPictures, rests


def urdf_in(path: Path, embodiment: Embodiment) -> str:
    """The robot's URDF: its file, or the XML that the bag has.

    :raises InputError: when it is to be in the bag, and is not.
    """
    arm, topic = embodiment.driver.arm, embodiment.driver.needs().description_topic
    if arm.urdf != ROBOT_DESCRIPTION:
        return arm.urdf
    with open_bag(path) as bag:
        name = topic.rpartition("/")[2]
        text = first_text(bag, {each.topic for each in bag.of_type(TEXT_TYPE) if each.topic.endswith(f"/{name}")})
    if not text:
        raise InputError(f"bag {path}: expected the URDF on a topic {topic}, there is none (or give arm.urdf a file)")
    return text


def recorded_rests(
    path: Path, embodiment: Embodiment, topics: BagTopics, joint_states: str
) -> Iterator[RestingPictures]:
    """
    :param topics: topics of the camera.
    :param joint_states: topic of the arm's joints; empty: all that tell joints of these names.
    :raises InputError: for anything but a bag, and for one without pictures, or without the arm's joints.
    """
    if not is_bag(path):
        raise InputError(f"bag {path}: expected a rosbag2 folder or file, there is none")
    with open_bag(path) as bag:
        chosen = choose_camera(bag, topics)
        found = rests(*_positions(bag, embodiment, joint_states))
    rectified = is_rectified(chosen.image.topic)
    waiting = list(found)
    taken: list[np.ndarray] = []
    camera: CameraCalibration | None = None
    next_ns = 0
    info = chosen.camera_info.topic if chosen.camera_info else NONE
    for frame in read_bag(path, BagTopics(chosen.image.topic, info, NONE), lambda line: None):
        while waiting and frame.stamp_ns > waiting[0].end_ns:
            yield RestingPictures(waiting.pop(0), tuple(taken), camera, rectified)
            taken, next_ns = [], 0
        if not waiting:
            return
        if frame.stamp_ns >= max(waiting[0].begin_ns, next_ns) and len(taken) < MOST_PICTURES:
            taken.append(frame.rgb)
            camera = frame.camera
            next_ns = frame.stamp_ns + _step_ns(waiting[0])
    for rest in waiting:
        yield RestingPictures(rest, tuple(taken), camera, rectified)
        taken = []


def _step_ns(rest: Rest) -> int:
    """Pictures spread over the rest tell more than its first ones."""
    return (rest.end_ns - rest.begin_ns) // MOST_PICTURES


def _positions(bag: Bag, embodiment: Embodiment, given: str) -> tuple[np.ndarray, np.ndarray]:
    joints = embodiment.driver.arm.joints
    names = {each.topic for each in bag.of_type(JOINT_STATE_TYPE)}
    # What a driver tells its arm is no measurement.
    topics = {given} if given else {name for name in names if name.rpartition("/")[2] != "setpoint"}
    if len(topics) > 1:
        own = {name for name in topics if name.endswith(f"/{embodiment.driver.needs().joint_states_topic.lstrip('/')}")}
        topics = own or topics
    times, positions = read_positions(bag, topics & names, joints)
    if not len(times):
        heard = ", ".join(sorted(topics & names)) or "none"
        raise InputError(
            f"bag {bag.path}: expected joint states of {', '.join(joints)}, found none of all of them on {heard}"
        )
    return times, positions
