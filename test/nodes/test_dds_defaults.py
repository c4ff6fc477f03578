"""Whom nodes hear and are heard by, unless their user says otherwise: those of this machine."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from stvla_ros.nodes.kit.base import set_dds_defaults
from stvla_ros.shared_files import config_directory

RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
OTHERS = ("ROS_LOCALHOST_ONLY", "ROS_DISCOVERY_SERVER", "ROS_STATIC_PEERS")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (RANGE, *OTHERS, "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_nobody_said_anything_so_it_is_this_machine_and_our_profile(unset: pytest.MonkeyPatch) -> None:
    set_dds_defaults()
    assert os.environ[RANGE] == "LOCALHOST"
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == str(config_directory() / "fastdds.xml")


@pytest.mark.parametrize("value", ["SUBNET", "OFF", "SYSTEM_DEFAULT"])
def test_the_users_own_range_stays(value: str, unset: pytest.MonkeyPatch) -> None:
    unset.setenv(RANGE, value)
    set_dds_defaults()
    assert os.environ[RANGE] == value


@pytest.mark.parametrize("name", ["ROS_LOCALHOST_ONLY", "ROS_DISCOVERY_SERVER"])
def test_who_set_the_older_variable_or_a_discovery_server_has_decided(name: str, unset: pytest.MonkeyPatch) -> None:
    unset.setenv(name, "0" if name == "ROS_LOCALHOST_ONLY" else "10.0.0.1:11811")
    set_dds_defaults()
    assert RANGE not in os.environ


@pytest.mark.parametrize(
    ("given", "profile"),
    [
        ({}, "fastdds_this_machine.xml"),
        ({"ROS_LOCALHOST_ONLY": "1"}, "fastdds_this_machine.xml"),
        ({"ROS_LOCALHOST_ONLY": "0"}, "fastdds.xml"),
        ({"ROS_DISCOVERY_SERVER": "10.0.0.1:11811"}, "fastdds.xml"),
        ({RANGE: "SUBNET"}, "fastdds.xml"),
    ],
    ids=str,
)
def test_on_humble_which_knows_no_range_the_profile_holds_nodes_to_this_machine(
    given: dict[str, str], profile: str, unset: pytest.MonkeyPatch
) -> None:
    unset.setenv("ROS_DISTRO", "humble")
    for name, value in given.items():
        unset.setenv(name, value)
    set_dds_defaults()
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(config_directory() / profile)


def test_named_peers_are_an_addition_to_this_machine(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("ROS_STATIC_PEERS", "10.0.0.2")
    set_dds_defaults()
    assert os.environ[RANGE] == "LOCALHOST"


# Says which nodes it found on a topic within some seconds.
LOOK = textwrap.dedent(
    """
    import sys, time, rclpy
    from std_msgs.msg import Bool
    from stvla_ros.nodes.kit.base import set_dds_defaults
    set_dds_defaults()
    rclpy.init()
    node = rclpy.create_node(sys.argv[1])
    publisher = node.create_publisher(Bool, "x", 10)
    found, ends = set(), time.monotonic() + 8.0
    while time.monotonic() < ends:
        found |= {each.node_name for each in node.get_publishers_info_by_topic("/x")}
        time.sleep(0.05)
    print(*sorted(found))
    """
)
PLACES = {"left": 1, "right": 2}
THIS_MACHINE = {
    name: str(config_directory() / "fastdds_this_machine.xml")
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
}


@pytest.fixture
def network() -> Iterator[None]:
    """Two machines on one cable, as namespaces of the kernel."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    names = {place: f"stvla{os.getpid()}{place}" for place in PLACES}
    left, right = names.values()
    commands = [f"netns add {name}" for name in names.values()]
    commands += [f"link add v1 netns {left} type veth peer name v2 netns {right}"]
    for (place, number), other in zip(PLACES.items(), (2, 1), strict=True):
        inside = f"-n {names[place]}"
        commands += [f"{inside} addr add 10.77.0.{number}/24 dev v{number}"]
        commands += [f"{inside} link set {device} up" for device in (f"v{number}", "lo")]
        commands += [f"{inside} route add default via 10.77.0.{other}"]
    try:
        for command in commands:
            if subprocess.run(["ip", *command.split()], capture_output=True, check=False).returncode:
                pytest.skip("this machine gives no network namespaces")
        yield
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def begin(place: str, name: str, tmp_path: Path, domain: int, **variables: str) -> subprocess.Popen:
    file = tmp_path / "look.py"
    file.write_text(LOOK)
    environment = {key: value for key, value in os.environ.items() if key not in (RANGE, *OTHERS)}
    # A machine of its own also has a shared memory of its own.
    own = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"']
    return subprocess.Popen(
        ["ip", "netns", "exec", f"stvla{os.getpid()}{place}", *own, sys.executable, str(file), name],
        env=environment | {"ROS_DOMAIN_ID": str(domain)} | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


# Twelve processes look for each other for a fixed time, which a busy machine does not give them.
@pytest.mark.slow
def test_over_a_cable_nodes_find_each_other_only_where_their_users_want_it(network: None, tmp_path: Path) -> None:
    wanted = {RANGE: "SUBNET"}
    pairs: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "nothing": ({}, {}),
        "one": ({}, wanted),
        "both": (wanted, wanted),
        "peers": ({"ROS_STATIC_PEERS": "10.77.0.2"}, {"ROS_STATIC_PEERS": "10.77.0.1"}),
        # As on Humble, where only the profile holds a node to its machine.
        "profile": (wanted | THIS_MACHINE, wanted | THIS_MACHINE),
        "one profile": (wanted | THIS_MACHINE, wanted),
    }
    started = {
        (pair, place): begin(place, f"{pair}_{place}".replace(" ", "_"), tmp_path, domain, **variables)
        for domain, (pair, both) in enumerate(pairs.items(), 20)
        for place, variables in zip(PLACES, both, strict=True)
    }
    seen = {key: process.communicate(timeout=120)[0].split() for key, process in started.items()}
    for (pair, place), found in seen.items():
        other_place = "right" if place == "left" else "left"
        own, other = (f"{pair}_{each}".replace(" ", "_") for each in (place, other_place))
        assert own in found
        assert (other in found) == (pair in ("both", "peers")), (pair, place, found)
