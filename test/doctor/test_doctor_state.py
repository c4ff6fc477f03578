"""What is found out about what a robot says of itself, on records."""

from dataclasses import replace

import numpy as np
import pytest
from made_records import POSE, STATES, all_good, make_poses, make_states, make_stream, only, silent

from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.records import JointStates, Publisher
from stvla_ros.doctor.robot_state import check_joint_states, check_poses, check_services
from stvla_ros.errors import InputError
from stvla_ros.robots.drivers import DriverNeeds
from stvla_ros.robots.embodiments import DriverDescription, find_embodiment

WIDOWX = find_embodiment("widowx").driver
GOOGLE = find_embodiment("google_robot").driver
NEEDS = WIDOWX.needs()
FINGER = 0.02


def states(**changes: object) -> JointStates:
    return replace(make_states(NEEDS.joints, (*WIDOWX.rest, FINGER)), **changes)


def examined(records: JointStates, needs: DriverNeeds = NEEDS) -> list[Finding]:
    return list(check_joint_states(records, needs, WIDOWX.limits))


def with_positions(records: JointStates, rows: slice, column: int, value: float) -> JointStates:
    positions = records.positions.copy()
    positions[rows, column] = value
    return replace(records, positions=positions)


def test_a_good_arm_gives_no_more_than_oks_with_its_figures() -> None:
    found = examined(states())
    assert all_good(found)
    assert found[0].text == "/states: 100.0 Hz, jitter 0.0 ms, largest gap 10 ms"


def test_an_arm_that_says_nothing_is_an_error_that_says_what_to_start() -> None:
    stream = silent(make_stream("/wx250s/joint_states", STATES, others=("/wx200/joint_states",)))
    found = only(examined(states(stream=stream)), "error", "nobody publishes /wx250s/joint_states")
    assert "ros2 launch interbotix_xsarm_control xsarm_control.launch.py robot_model:=wx250s" in found.advice
    assert "driver.settings.namespace" in found.advice and "/wx200/joint_states" in found.advice


def test_joints_under_other_names() -> None:
    records = states(present=np.zeros((200, 7), bool), names=frozenset({"joint_1", "joint_2"}))
    found = only(examined(records), "error", "/states: no position of waist, shoulder,")
    assert "left_finger; it has joint_1, joint_2" in found.text


def test_messages_of_others_and_messages_with_half_an_arm() -> None:
    present = np.ones((200, 7), bool)
    present[::2] = False
    found = examined(states(present=present))
    only(found, "note", "100 of 200 messages are of other joints")
    assert any(f.text.startswith("/states: 50.0 Hz, ") for f in found)
    present = np.ones((200, 7), bool)
    present[::2, :3] = False
    only(examined(states(present=present)), "error", "100 messages have only some of the joints")
    present[1::2, 3:] = False
    errors = [f.text for f in examined(states(present=present)) if f.level == "error"]
    assert errors[0] == "/states: 200 messages have only some of the joints; the driver stops for each"
    assert errors[1].startswith("/states: nothing that can be used for 2.00 s")


def test_parts_that_a_driver_puts_together_are_checked_joint_by_joint() -> None:
    parts = replace(NEEDS, shared_topic=True)
    present = np.ones((200, 7), bool)
    present[::2, :3] = False
    present[1::2, 3:] = False
    assert all_good(examined(states(present=present), parts))
    present[50:100, 2] = False
    found = only(examined(states(present=present), parts), "error", "no position of elbow for 0.5")
    assert "the driver stops the arm after 0.25 s" in found.text


@pytest.mark.parametrize("step, level", [(20, "warning"), (3, "error")])
def test_nan(step: int, level: str) -> None:
    records = with_positions(states(), slice(None, None, step), 2, np.nan)
    share = len(range(0, 200, step)) / 200
    only(examined(records), level, f"/states: {share:.0%} of the messages have a NaN (elbow); they are not used")


def test_nan_for_so_long_that_the_driver_stops() -> None:
    records = with_positions(states(), slice(50, 85), 0, np.nan)
    errors = [f.text for f in examined(records) if f.level != "ok"]
    assert errors == [
        "/states: 18% of the messages have a NaN (waist); they are not used",
        "/states: nothing that can be used for 0.36 s; the driver stops the arm after 0.25 s",
    ]


@pytest.mark.parametrize(("step", "level"), [(20, "warning"), (3, "error")])
def test_messages_that_are_old_by_their_stamps(step: int, level: str) -> None:
    records = states()
    ages = records.stream.ages_s.copy()
    ages[::step] = 61.0
    found = only(examined(replace(records, stream=replace(records.stream, ages_s=ages))), level, "older than 0.25 s")
    assert "up to 61 s; they are not used" in found.text and "clocks" in found.advice


def test_messages_without_stamps_have_no_age() -> None:
    stream = states().stream
    unstamped = replace(stream, ages_s=np.full(200, 1.7e9), stamps_ns=np.zeros(200, np.int64))
    assert all_good(examined(states(stream=unstamped)))


def test_rate_and_gaps() -> None:
    slow = make_stream("/states", STATES, 200, 2.0)
    only(examined(states(stream=slow)), "error", "/states: 2.0 Hz, at least 4 Hz are needed")
    kept = np.ones(200, bool)
    kept[50:90] = False
    records = states()
    cut = replace(
        records,
        stream=records.stream.only(kept),
        positions=records.positions[kept],
        present=records.present[kept],
    )
    only(examined(cut), "warning", "a gap of 0.41 s; the driver stops the arm after 0.25 s")


@pytest.mark.parametrize(
    "column, value, level, text",
    [
        (1, -2.5, "error", "shoulder is at -2.500, beyond its limits -1.88495 to 1.98967"),
        (1, -1.90, "note", "shoulder is at -1.900, at its limit"),
        (0, 3.3, "error", "waist is at 3.300, beyond its limits"),
    ],
)
def test_positions_at_and_beyond_the_limits(column: int, value: float, level: str, text: str) -> None:
    only(examined(with_positions(states(), slice(None), column, value)), level, text)


def test_a_second_publisher_matters_only_where_the_topic_is_the_robots_own() -> None:
    publishers = (Publisher("/xs_sdk", STATES), Publisher("/fake_xs_arm", STATES))
    records = states(stream=make_stream("/states", STATES, 200, 100.0, publishers=publishers))
    only(examined(records), "warning", "/states has 2 publishers: /xs_sdk, /fake_xs_arm")
    assert all_good(examined(records, replace(NEEDS, shared_topic=True)))


# --- services --------------------------------------------------------------------------------------------------------


def there(namespace: str = "") -> dict[str, str]:
    """The services that the driver needs, by full name."""
    return {f"{namespace}/{name}": kind for name, kind in NEEDS.services.items()}


def test_the_services_of_a_robot_in_a_namespace_are_there() -> None:
    assert all_good(check_services(there("/left"), NEEDS, namespace="/left"))
    only(check_services(there(), NEEDS, namespace="/left"), "error", "not there: /left/wx250s/")


def test_services() -> None:
    assert all_good(check_services(there(), NEEDS))
    assert not list(check_services({}, DriverNeeds()))
    some = {name: kind for name, kind in there().items() if "torque" not in name}
    found = only(check_services(some, NEEDS), "error", "not there: /wx250s/torque_enable")
    assert "xsarm_control.launch.py" in found.advice
    assert "above" in only(check_services({}, NEEDS, told=True), "error", "set_operating_modes").advice
    other = {**there(), "/wx250s/torque_enable": "std_srvs/srv/SetBool"}
    found = [f for f in check_services(other, NEEDS) if f.level == "error"]
    expected = "expected interbotix_xs_msgs/srv/TorqueEnable, it is std_srvs/srv/SetBool"
    assert found[0].text == f"service /wx250s/torque_enable: {expected}"


# --- poses -----------------------------------------------------------------------------------------------------------

BASE = "link_base"
POSE_NEEDS = GOOGLE.needs()


def about_pose(**changes: object) -> list[Finding]:
    return list(check_poses(replace(make_poses(BASE), **changes), POSE_NEEDS, BASE, GOOGLE.limits))


def test_a_good_pose() -> None:
    assert all_good(about_pose())


@pytest.mark.parametrize(
    "changes, level, text",
    [
        ({"stream": silent(make_stream("/pose", POSE))}, "error", "nobody publishes /pose"),
        ({"stream": make_poses("tool").stream}, "error", "/pose: frame_id tool, expected link_base"),
        ({"quaternions": np.tile([0.0, 0.0, 0.0, 0.5], (100, 1))}, "error", "/pose: a quaternion of length 0.500"),
        ({"translations": np.tile([9.0, 0.0, 0.8], (100, 1))}, "error", "/pose: x is at 9.000, beyond its limits"),
        ({"translations": np.tile([np.nan, 0.0, 0.8], (100, 1))}, "error", "/pose: 100 of 100 poses have a NaN"),
    ],
)
def test_poses(changes: dict[str, object], level: str, text: str) -> None:
    only(about_pose(**changes), level, text)


# --- what each driver needs -------------------------------------------------------------------------------------------


SERVO_SETTINGS = {"twist_topic": "twist"}


def test_topics_of_the_drivers() -> None:
    assert NEEDS.joint_states_topic == "wx250s/joint_states" and NEEDS.joints == (*WIDOWX.arm.joints, "left_finger")
    assert NEEDS.packages == ("interbotix_xs_msgs",)
    assert POSE_NEEDS.pose_topic == "tool_pose" and not POSE_NEEDS.joint_states_topic
    servo = replace(WIDOWX, executable="moveit_servo_driver", settings=SERVO_SETTINGS)
    assert servo.needs().joint_states_topic == "joint_states"
    assert servo.needs().joints == WIDOWX.arm.joints and servo.needs().shared_topic
    gripper = {"interface": "gripper_command", "name": "gripper_cmd", "finger_joint": "finger"}
    with_finger: DriverDescription = replace(servo, settings={**servo.settings, "gripper": gripper})
    assert with_finger.needs().joints == (*WIDOWX.arm.joints, "finger")
    assert with_finger.needs().packages == ("moveit_msgs", "control_msgs")
    apart = replace(
        servo, settings={**servo.settings, "gripper": {**gripper, "joint_states_topic": "hand/joint_states"}}
    )
    assert apart.needs().joints == WIDOWX.arm.joints


@pytest.mark.parametrize("driver, key", [(WIDOWX, "namespace"), (GOOGLE, "pose_topic")])
def test_a_setting_that_is_missing_is_named(driver: DriverDescription, key: str) -> None:
    settings = {name: value for name, value in driver.settings.items() if name != key}
    with pytest.raises(InputError, match=f"driver.settings.{key}: expected a value, it is missing"):
        replace(driver, settings=settings).needs()
