"""Messages as lines for people."""

from array import array

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseWithCovariance
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Byte, Header, String

from stvla_ros.errors import InputError
from stvla_ros.msg import TraceArray
from stvla_ros.nodes.kit.message_text import check_field, field_of, message_lines

DIAGNOSTICS = DiagnosticArray(
    status=[DiagnosticStatus(name=f"node{i}", values=[KeyValue(key="rate", value="30")]) for i in range(12)]
)


def text(message, full: bool = False) -> str:
    return "\n".join(message_lines(message, full))


def test_a_picture_is_shown_by_its_first_numbers_and_their_count() -> None:
    picture = Image(height=480, width=640, encoding="rgb8", step=1920, data=array("B", bytes([7]) * 921_600))
    picture.header = Header(frame_id="camera")
    assert text(picture) == (
        'header:\n  stamp:\n    sec: 0\n    nanosec: 0\n  frame_id: "camera"\nheight: 480\nwidth: 640\n'
        'encoding: "rgb8"\nis_bigendian: 0\nstep: 1920\ndata: [7, 7, 7, … 921600 in all]'
    )
    assert text(picture, full=True).count("7,") == 921_599


def test_short_arrays_are_whole_whatever_holds_them() -> None:
    joints = JointState(name=["waist", "elbow"], position=[0.1, float("nan")])
    assert 'name: ["waist", "elbow"]\nposition: [0.1, nan]\nvelocity: []' in text(joints)
    assert "covariance: [0, 0, 0, … 36 in all]" in text(PoseWithCovariance(covariance=np.zeros(36)))
    assert "visible: [true, false]" in text(TraceArray(visible=[True, False]))
    assert text(Byte(data=b"\x05")) == "data: 5"


def test_messages_in_messages_are_listed_and_many_of_them_counted() -> None:
    told = text(DIAGNOSTICS)
    assert '- level: 0\n  name: "node0"' in told and '\n  - key: "rate"\n    value: "30"\n' in told
    assert "node2" in told and "node3" not in told and told.endswith("  … 12 in all")
    assert "node11" in text(DIAGNOSTICS, full=True)


def test_a_text_cannot_write_on_the_terminal_and_a_long_one_is_cut() -> None:
    assert text(String(data="a\x1b[2Jb\nc\x9b")) == 'data: "a\\u001b[2Jb\\nc\\u009b"'
    assert text(String(data="x" * 1000)) == f'data: "{"x" * 300}" … 1000 characters in all'


@pytest.mark.parametrize(
    ("path", "value"), [("header.stamp.sec", 0), ("status.11.name", "node11"), ("status.0.values.0.value", "30")]
)
def test_a_field_is_found_however_deep(path: str, value: object) -> None:
    check_field(DiagnosticArray, path)
    assert field_of(DIAGNOSTICS, path) == value


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("header.stmp", "expected one of stamp, frame_id, got 'stmp' (did you mean stamp?)"),
        ("status.name", "expected a number in place of 'name', there are several (sequence<diagnostic_msgs/Diag"),
        ("header.frame_id.x", "expected nothing below a string, got 'x'"),
        ("", "expected one of header, status, got ''"),
        ("__class__", "expected one of header, status"),
    ],
)
def test_what_is_no_field_is_named_with_those_that_are(path: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        check_field(DiagnosticArray, path)
    assert str(refused.value).startswith(f"field {path}: ") and said in str(refused.value)


def test_a_number_that_the_array_does_not_reach_to_is_named() -> None:
    check_field(DiagnosticArray, "status.12")
    with pytest.raises(InputError, match="field status.12: expected a number below 12"):
        field_of(DIAGNOSTICS, "status.12")
