"""`stvla topics` and `stvla echo`, in a process of their own, beside a node of the test that publishes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe import Probe
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float64, String

from stvla_ros.cli import main
from stvla_ros.nodes import echo

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
# Enough on a busy machine for nodes to find each other.
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "FOUND_WITHIN_S", PATIENCE_S)


@pytest.fixture
def probe() -> Iterator[Probe]:
    made = Probe()
    yield made
    made.close()


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    assert ended.value.code == code, told
    return told.err if code else told.out


def test_a_latched_message_is_shown_once_whole_or_one_field_of_it(probe: Probe, capsys) -> None:
    probe.node.create_publisher(String, "/arm/phase", LATCHED).publish(String(data="holding"))
    assert said(capsys, "echo", "arm/phase", "--once") == 'data: "holding"\n---\n'
    assert said(capsys, "echo", "/arm/phase", "--once", "--field", "data") == '"holding"\n---\n'
    wrong = said(capsys, "echo", "/arm/phase", "--once", "--field", "dat", code=2)
    assert wrong == "error: field dat: expected one of data, got 'dat' (did you mean data?)\n"


def test_of_several_kept_messages_once_shows_the_newest(probe: Probe, capsys) -> None:
    deep = QoSProfile(depth=16, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = probe.node.create_publisher(Float64, "/arm/phase", deep)
    for phase in range(12):
        publisher.publish(Float64(data=float(phase)))
    assert said(capsys, "echo", "arm/phase", "--once") == "data: 11\n---\n"


def test_messages_of_a_best_effort_publisher_come_until_ctrl_c(probe: Probe, tmp_path: Path) -> None:
    publisher = probe.node.create_publisher(Float64, "speed", BEST_EFFORT)
    probe.node.create_timer(0.05, lambda: publisher.publish(Float64(data=0.25)))
    # A file of its own for the output: a pipe that nobody reads would be a wait of its own.
    output = tmp_path / "said"
    patient_echo = (
        "from stvla_ros.cli import main; from stvla_ros.nodes import echo\n"
        f"echo.FOUND_WITHIN_S = {PATIENCE_S}; main(['echo', 'speed'])"
    )
    with output.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", patient_echo], stdout=file)
    try:
        probe.until(lambda: output.read_text().count("data: 0.25\n---\n") > 3, "several messages")
    finally:
        process.send_signal(2)
    assert process.wait(PATIENCE_S) == 0


def test_a_topic_that_nobody_publishes_is_told_with_those_that_there_are(
    probe: Probe, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe.node.create_publisher(Image, "/left/image", 1)
    probe.node.create_subscription(Bool, "/estop", lambda _: None, 1)
    monkeypatch.setattr(echo, "FOUND_WITHIN_S", 3.0)  # the whole of it passes
    told = said(capsys, "echo", "imgae", code=2)
    assert told.startswith("error: topic /imgae: nobody publishes it (did you mean /left/image?); there are ")
    assert told.count("\n") == 1
    assert "topic /estop: nobody publishes it (/probe listens to it)" in said(capsys, "echo", "estop", code=2)


def test_topics_are_listed_with_types_and_who_publishes_them(probe: Probe, capsys, monkeypatch) -> None:
    probe.node.create_publisher(Image, "/left/image", 1)
    probe.node.create_publisher(String, "/left/_hidden", 1)
    probe.node.create_subscription(Bool, "/estop", lambda _: None, 1)
    monkeypatch.setattr(echo, "FOUND_WITHIN_S", 3.0)
    lines = said(capsys, "topics").splitlines()
    assert [line.split() for line in lines if "image" in line] == [
        ["/left/image", "sensor_msgs/msg/Image", "by", "/probe"]
    ]
    assert not any(name in "".join(lines) for name in ("_hidden", "/estop", "by /topics"))
    everything = said(capsys, "topics", "--all")
    assert "/left/_hidden" in everything
    assert ["/estop", "std_msgs/msg/Bool", "by", "nobody"] in [line.split() for line in everything.splitlines()]
