"""Settings of arms behind ros2_control and MoveIt Servo: each mistake is named by its key."""

from typing import Any

import pytest

from stvla_ros.errors import InputError
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.robots.ros2_control_settings import Ros2ControlSettings
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.settings import build

GRIPPER = {"interface": "gripper_command", "name": "gripper_cmd"}


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Ros2ControlSettings, {}, "controller: expected a value, it is missing"),
        (Ros2ControlSettings, {"controller": ""}, "controller: expected"),
        (
            Ros2ControlSettings,
            {"controller": "c", "interface": "effort"},
            "interface: expected one of positions, trajec",
        ),
        (Ros2ControlSettings, {"controller": "c", "point_ms": 0}, "point_ms: expected 1 to 200, got 0"),
        (Ros2ControlSettings, {"controller": "c", "joint_states_topics": []}, "joint_states_topics: expected at least"),
        (
            Ros2ControlSettings,
            {"controller": "c", "joint_states_topics": "states"},
            "joint_states_topics: expected a list",
        ),
        (Ros2ControlSettings, {"controller": "c", "gripper": {"name": "g"}}, "gripper.interface: expected a value"),
        (Ros2ControlSettings, {"controller": "c", "gripper": GRIPPER | {"name": ""}}, "gripper.name: expected"),
        (
            Ros2ControlSettings,
            {"controller": "c", "gripper": GRIPPER | {"finger_open": 0.0}},
            "gripper.finger_closed, ",
        ),
        (
            Ros2ControlSettings,
            {"controller": "c", "gripper": GRIPPER | {"max_effort": -1.0}},
            "gripper.max_effort: expec",
        ),
        (
            Ros2ControlSettings,
            {"controller": "c", "gripper": GRIPPER | {"interface": "parallel_gripper_command"}},
            "gripper.finger_joint: expected the joint",
        ),
        (
            ServoSettings,
            {"twist_topic": "t", "gripper_topic": "g"},
            r"gripper_topic: no such key \(it is called gripper ",
        ),
        (
            ServoSettings,
            {"twist_topic": "t", "joint_states_topic": "j"},
            r"joint_states_topic: no such key \(it is called joint_states_topics ",
        ),
        (
            ServoSettings,
            {"twist_topic": "t", "start_service": "start"},
            "start_service: expected one of switch_command_",
        ),
    ],
)
def test_a_mistake_is_named(kind: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        build(kind, settings)


def test_an_opening_is_a_position_between_the_fingers_two() -> None:
    gripper = build(GripperSettings, GRIPPER | {"finger_closed": 0.8, "finger_open": 0.0})
    assert [gripper.position_of(opening) for opening in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.4, 0.0])
