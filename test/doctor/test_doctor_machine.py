"""What is found out about ROS 2, Fast DDS and the GPU."""

import fcntl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import all_good, only

from stvla_ros.doctor.fastdds import SharedMemory, check_fastdds, read_profile, read_shared_memory
from stvla_ros.doctor.findings import Finding
from stvla_ros.doctor.gpu import Gpu, TorchFacts, check_gpu, torch_facts
from stvla_ros.doctor.ros import RosFacts, check_ros
from stvla_ros.errors import InputError
from stvla_ros.shared_files import config_directory

OWN = config_directory() / "fastdds.xml"
GB, MB = 10**9, 10**6

# --- ROS 2 -----------------------------------------------------------------------------------------------------------

ENVIRONMENT = {"ROS_DISTRO": "jazzy", "ROS_DOMAIN_ID": "7", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
FACTS = RosFacts(
    rclpy="/opt/ros/jazzy/rclpy/__init__.py",
    optional={"message_filters": "real", "cv_bridge": "real"},
    packages={"interbotix_xs_msgs": ""},
    rmw="rmw_fastrtps_cpp",
)


def about_ros(environment: Mapping[str, str] = ENVIRONMENT, **changes: object) -> list[Finding]:
    return list(check_ros(replace(FACTS, **changes), environment))


def test_a_good_ros() -> None:
    found = about_ros()
    assert all_good(found)
    assert found[0].text == "rclpy of ROS 2 jazzy: /opt/ros/jazzy/rclpy/__init__.py"
    wheels = about_ros({**ENVIRONMENT, "ROS_DISTRO": ""}, wheels=True)
    assert all_good(wheels) and wheels[0].text.startswith("rclpy of the wheels")


@pytest.mark.parametrize(
    "changes, level, text",
    [
        ({"problem": "ModuleNotFoundError: no rclpy"}, "error", "rclpy cannot be imported: ModuleNotFoundError"),
        ({"wheels": True}, "error", "ROS 2 jazzy is sourced, but rclpy comes from the wheels"),
        ({"messages_problem": "ImportError: no"}, "error", "the messages of stvla_ros cannot be used: ImportError"),
        ({"lacking": ("DriverState",)}, "error", "the built messages of stvla_ros are old: DriverState is missing"),
        ({"optional": {"cv_bridge": "fallback"}}, "note", "fallback of this package in use: cv_bridge"),
        ({"optional": {"cv_bridge": "OSError: x"}}, "error", "cv_bridge cannot be imported: OSError: x"),
        ({"packages": {"interbotix_xs_msgs": "no"}}, "error", "interbotix_xs_msgs, which the robot's driver needs"),
        ({"rmw": "rmw_cyclonedds_cpp"}, "note", "middleware rmw_cyclonedds_cpp; the stack is tested with"),
        ({"rmw": ""}, "error", "the middleware cannot be loaded (RMW_IMPLEMENTATION=unset)"),
    ],
)
def test_ros(changes: dict[str, object], level: str, text: str) -> None:
    only(about_ros(**changes), level, text)


def test_how_to_build_is_said() -> None:
    found = only(about_ros(messages_problem="no"), "error", "the messages")
    assert "make setup" in found.advice and "colcon build" in found.advice
    assert "interbotix_ros_core" in only(about_ros(packages={"interbotix_xs_msgs": "no"}), "error", "xs_msgs").advice


@pytest.mark.parametrize(
    "changes, level, text",
    [
        ({"ROS_DISTRO": ""}, "warning", "rclpy comes from /opt/ros/jazzy/rclpy/__init__.py, but no distribution"),
        ({"ROS_DOMAIN_ID": ""}, "note", "ROS_DOMAIN_ID is not set: domain 0"),
        ({"ROS_DOMAIN_ID": "seven"}, "error", "ROS_DOMAIN_ID is 'seven'"),
        ({"ROS_DOMAIN_ID": "233"}, "error", "ROS_DOMAIN_ID is '233'"),
        ({"ROS_DOMAIN_ID": "150"}, "warning", "ROS_DOMAIN_ID is 150: its ports may be taken"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "error", "no node finds another"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "local"}, "error", "ROS_AUTOMATIC_DISCOVERY_RANGE is 'local'"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "note", "other machines in the network are heard"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "note", "ROS_LOCALHOST_ONLY=1 is outdated"),
    ],
)
def test_environment(changes: dict[str, str], level: str, text: str) -> None:
    only(about_ros({**ENVIRONMENT, **changes}), level, text)


HUMBLE = {"ROS_DISTRO": "humble", "ROS_DOMAIN_ID": "7"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "this stack runs on jazzy, and was not run on that"),
        ({"ROS_STATIC_PEERS": "10.0.0.2"}, "ROS_STATIC_PEERS is set, which ROS 2 humble"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "ROS_AUTOMATIC_DISCOVERY_RANGE is set, which ROS 2 humble"),
    ],
)
def test_humble_is_judged_by_what_it_knows(given: dict[str, str], text: str) -> None:
    found = about_ros({**HUMBLE, **given})
    assert any(text in finding.text for finding in found if finding.level == "warning"), found
    assert "error" not in {finding.level for finding in found}


def test_an_older_distribution_is_refused() -> None:
    found = about_ros({"ROS_DISTRO": "galactic", "ROS_DOMAIN_ID": "7"})
    assert [each.text for each in found if each.level == "error"] == ["ROS 2 galactic is sourced"]


def test_humble_in_reach_of_others_is_told() -> None:
    reach = "other machines in the network are heard, and can command the robot"
    assert [each for each in about_ros({**HUMBLE, "ROS_LOCALHOST_ONLY": "0"}) if reach in each.text]
    assert not [each for each in about_ros(HUMBLE) if reach in each.text]


@pytest.mark.parametrize("distribution", ["humble", "jazzy"])
@pytest.mark.parametrize("changes", [{}, {"wheels": True}, {"problem": "no"}, {"messages_problem": "no"}], ids=str)
def test_no_advice_mixes_distributions(distribution: str, changes: dict[str, object]) -> None:
    other = {"humble": "jazzy", "jazzy": "humble"}[distribution]
    for finding in about_ros({**ENVIRONMENT, "ROS_DISTRO": distribution}, **changes):
        assert f"/opt/ros/{other}" not in finding.advice and "or the wheels" not in finding.advice, finding


def test_a_discovery_range_that_is_not_set_is_this_machine() -> None:
    found = list(about_ros({**ENVIRONMENT, "ROS_AUTOMATIC_DISCOVERY_RANGE": ""}))
    assert {finding.level for finding in found} == {"ok"}
    assert "the nodes take LOCALHOST, those of this machine only" in found[-1].text


# --- Fast DDS --------------------------------------------------------------------------------------------------------

READ = "FASTRTPS_DEFAULT_PROFILES_FILE"
ROOMY = SharedMemory(total=8 * GB, free=7 * GB)


def about_dds(
    environment: Mapping[str, str], memory: SharedMemory = ROOMY, rmw: str = "rmw_fastrtps_cpp"
) -> list[Finding]:
    return list(check_fastdds(environment, rmw, READ, OWN, memory))


def profile(folder: Path, old: str = "", new: str = "") -> dict[str, str]:
    """The package's profile with one thing changed, named in the environment."""
    text = OWN.read_text()
    assert old in text
    (folder / "profile.xml").write_text(text.replace(old, new))
    return {READ: str(folder / "profile.xml")}


def test_the_packages_own_profile_in_enough_memory() -> None:
    found = about_dds({})
    assert all_good(found)
    assert [f.text for f in found] == [
        f"profile of this package: {OWN}",
        "shared-memory segment of 33.6 MB a process",
        "/dev/shm has 7000 MB free of 8000 MB",
    ]


def test_a_profile_of_the_users_own(tmp_path: Path) -> None:
    found = about_dds(profile(tmp_path))
    assert all_good(found) and found[0].text == f"profile named by the user: {tmp_path / 'profile.xml'}"
    only(about_dds({READ: str(tmp_path / "none.xml")}), "error", "none.xml: expected a file (No such file")
    (tmp_path / "text.xml").write_text("no XML")
    found = only(about_dds({READ: str(tmp_path / "text.xml")}), "error", "text.xml: expected XML (syntax error")
    assert f"unset {READ}" in found.advice


def test_a_package_without_its_profile(tmp_path: Path) -> None:
    found = check_fastdds({}, "rmw_fastrtps_cpp", READ, tmp_path / "none.xml", ROOMY)
    assert "colcon build" in only(found, "error", "none.xml: expected a file").advice


def test_the_variable_that_another_fast_dds_reads() -> None:
    text = "FASTDDS_DEFAULT_PROFILES_FILE names a profile, but the Fast DDS in use reads FASTRTPS_DEFAULT_PROFILES_FILE"
    only(about_dds({"FASTDDS_DEFAULT_PROFILES_FILE": "/x"}), "warning", text)


@pytest.mark.parametrize(
    "old, new, level, text",
    [
        ("33554432", "524288", "error", "segment of 0.5 MB: less than one 640x480 picture (0.9 MB)"),
        ("33554432", "4000000", "warning", "segment of 4.0 MB: room for a few frames only"),
        ("33554432", "large", "error", "expected segment_size in bytes, got 'large'"),
        ("<segment_size>33554432</segment_size>", "", "error", "segment of 0.5 MB"),
        ("<type>SHM</type>", "<type>TCPv4</type>", "warning", "the profile has no shared memory"),
        ("<useBuiltinTransports>false<", "<useBuiltinTransports>true<", "", ""),
        (
            "<transport_id>stvla_udp</transport_id>\n        </userTransports>",
            "</userTransports>",
            "note",
            "has no UDP",
        ),
    ],
)
def test_what_a_profile_says(old: str, new: str, level: str, text: str, tmp_path: Path) -> None:
    if level:
        only(about_dds(profile(tmp_path, old, new)), level, text)
    else:
        assert read_profile(Path(profile(tmp_path, old, new)[READ])).segment == 33554432


def test_a_profile_without_a_default_participant_is_stock(tmp_path: Path) -> None:
    found = [f for f in about_dds(profile(tmp_path, ' is_default_profile="true"', "")) if f.level != "ok"]
    assert [f.level for f in found] == ["warning", "error"]
    assert "no default participant" in found[0].text and "segment of 0.5 MB" in found[1].text


@pytest.mark.parametrize(
    "memory, level, text",
    [
        (SharedMemory(64 * MB, 60 * MB), "error", "60 MB free of 64 MB: not enough for two processes of 36 MB"),
        (SharedMemory(256 * MB, 200 * MB), "warning", "200 MB free of 256 MB: enough for 5 processes"),
        (SharedMemory(8 * GB, 7 * GB, 3, 100 * MB), "note", "3 segments of killed processes hold 100 MB"),
        (SharedMemory(8 * GB, 7 * GB, 30, 1 * GB), "warning", "30 segments of killed processes hold 1000 MB"),
    ],
)
def test_room_in_shared_memory(memory: SharedMemory, level: str, text: str) -> None:
    found = only(about_dds({}, memory), level, text)
    assert "fastdds shm clean" in found.advice if "killed" in text else "--shm-size=456m" in found.advice


def test_only_segments_whose_process_is_gone_are_left_over(tmp_path: Path) -> None:
    for number, size in enumerate((1000, 200, 30)):
        (tmp_path / f"fastrtps_{number:016x}").write_bytes(bytes(size))
        (tmp_path / f"fastrtps_{number:016x}_el").touch()
    (tmp_path / "fastrtps_port7411_el").touch()
    with (tmp_path / f"fastrtps_{0:016x}_el").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        memory = read_shared_memory(tmp_path)
    assert (memory.leftovers, memory.leftover_bytes) == (2, 230)
    assert memory.total > memory.free > 0
    with pytest.raises(InputError, match="none: expected shared memory there"):
        read_shared_memory(tmp_path / "none")


def test_another_middleware_has_no_profile() -> None:
    (found,) = about_dds({READ: "/none"}, rmw="rmw_cyclonedds_cpp")
    assert found.level == "note" and found.text == "not used: the middleware is rmw_cyclonedds_cpp"


# --- GPU -------------------------------------------------------------------------------------------------------------

A100 = Gpu("A100", 80.0, 75.0, True)


def test_a_gpu() -> None:
    found = list(check_gpu(TorchFacts("2.9", "", "12.8", True, (A100,))))
    assert all_good(found)
    assert [f.text for f in found] == ["torch 2.9 with CUDA 12.8", "A100, 80 GB, 75 GB free"]


@pytest.mark.parametrize(
    "facts, level, text",
    [
        (TorchFacts("", "ImportError: no"), "error", "torch cannot be imported: ImportError: no"),
        (TorchFacts("2.9+cpu"), "note", "torch 2.9+cpu, no GPU: the policy runs on the CPU"),
        (
            TorchFacts("2.9+cpu", driver=True),
            "warning",
            "has NVIDIA's driver, but torch 2.9+cpu (built for CPUs alone)",
        ),
        (TorchFacts("2.9", cuda="12.8", driver=True), "warning", "torch 2.9 (built for CUDA 12.8) sees no GPU"),
        (TorchFacts("2.9", "", "12.8", True, (replace(A100, free_gb=6.0),)), "note", "the published 4B model needs"),
        (TorchFacts("2.9", "", "12.8", True, (replace(A100, bfloat16=False),)), "note", "does not compute in bfloat16"),
        (
            TorchFacts("2.9", "", "12.8", True, (replace(A100, compiled=False),)),
            "note",
            "A100: no parts of a policy are",
        ),
        (TorchFacts("2.9", "", "12.8", True, (A100,), compiler=False), "note", "no C compiler: "),
    ],
)
def test_gpu(facts: TorchFacts, level: str, text: str) -> None:
    only(check_gpu(facts), level, text)


def test_the_facts_are_torchs() -> None:
    import torch

    facts = torch_facts()
    assert facts.version == torch.__version__ and len(facts.gpus) == torch.cuda.device_count()
