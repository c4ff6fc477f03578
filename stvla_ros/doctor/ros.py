"""Check 1: ROS 2 itself, and this package's build for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.middleware import knows_ranges

_BUILD = (
    "in a checkout: `make setup`, then `. tools/env.sh`; in a ROS 2 workspace: `colcon build`, then "
    "`. install/setup.bash`"
)
# Names of distributions follow the alphabet.
_OLDEST, _TRIED = "humble", "jazzy"
_RANGES = ("SUBNET", "LOCALHOST", "SYSTEM_DEFAULT", "OFF")
# The domain determines the ports; above 101 they lie in the range that Linux uses for ephemeral ones.
_SAFE_DOMAIN, _LAST_DOMAIN = 101, 232
# The fallback of an optional package offers everything that this stack uses; xs_sdk's messages have no fallback.
_SUPPLIERS = {
    "interbotix_xs_msgs": "source the workspace with Interbotix' interbotix_ros_core; without hardware, `make setup` "
    "builds fallback/interbotix_xs_msgs"
}


@dataclass(frozen=True)
class RosFacts:
    """
    :param rclpy: file that rclpy is imported from; empty when it cannot be.
    :param problem: reason why rclpy cannot be imported; empty when it can.
    :param middleware_problem: reason why the middleware that is asked for cannot be loaded; nothing else is known then.
    :param wheels: whether rclpy comes from the wheels for PyPI.
    :param messages_problem: reason why the generated messages cannot be used; empty when they can.
    :param lacking: interfaces that this package defines and the generated modules lack.
    :param optional: origin of each optional package, by name: ``real``, ``fallback``, or the reason why neither can be
        imported.
    :param packages: reason why each package that the robot's driver needs cannot be imported, by name; empty when it
        can.
    :param rmw: identifier of the middleware in use; empty when it cannot be loaded.
    """

    rclpy: str
    problem: str = ""
    middleware_problem: str = ""
    wheels: bool = False
    messages_problem: str = ""
    lacking: tuple[str, ...] = ()
    optional: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    rmw: str = ""


def check_ros(facts: RosFacts, environment: Mapping[str, str]) -> Findings:
    """:param environment: environment of the process as its user set it."""
    if facts.middleware_problem:
        found, _, advice = facts.middleware_problem.partition(": ")
        yield error(found, advice)
        return
    yield from _check_distribution(facts, environment.get("ROS_DISTRO", ""))
    if facts.problem:
        return
    yield from _check_messages(facts)
    yield from _check_packages(facts)
    yield from _check_middleware(facts, environment.get("RMW_IMPLEMENTATION", ""))
    yield from _check_domain(environment)
    yield from _check_range(environment)


def _check_distribution(facts: RosFacts, distribution: str) -> Findings:
    if facts.problem:
        yield error(
            f"rclpy cannot be imported: {facts.problem}",
            f"source a ROS 2 distribution (`. /opt/ros/{distribution or _TRIED}/setup.bash`, and the virtual "
            f"environment made with it), or without one: {_BUILD}",
        )
    elif distribution and facts.wheels:
        yield error(
            f"ROS 2 {distribution} is sourced, but rclpy comes from the wheels, which are Jazzy's: {facts.rclpy}",
            "remove .venv and run `make setup` with the distribution sourced: processes of two distributions do not "
            "understand each other's types",
        )
    elif distribution and distribution < _OLDEST:
        yield error(
            f"ROS 2 {distribution} is sourced",
            f"use ROS 2 {_OLDEST} or later for all processes, camera's and arm's drivers too",
        )
    elif distribution and distribution < _TRIED:
        yield warning(
            f"rclpy of ROS 2 {distribution}: {facts.rclpy}; this stack runs on {_TRIED}, and was not run on that",
            "try it on fake hardware first (docs/how-to/humble.md says what was checked)",
        )
    elif not distribution and not facts.wheels:
        yield warning(
            f"rclpy comes from {facts.rclpy}, but no distribution is sourced",
            "source it in every terminal (`. /opt/ros/jazzy/setup.bash`): its launch files and drivers need that",
        )
    else:
        yield ok(f"rclpy of {f'ROS 2 {distribution}' if distribution else 'the wheels'}: {facts.rclpy}")


def _check_messages(facts: RosFacts) -> Findings:
    if facts.messages_problem:
        yield error(f"the messages of stvla_ros cannot be used: {facts.messages_problem}", _BUILD)
    elif facts.lacking:
        yield error(f"the built messages of stvla_ros are old: {', '.join(facts.lacking)} is missing", _BUILD)
    else:
        yield ok("the messages of stvla_ros are built")


def _check_packages(facts: RosFacts) -> Findings:
    real = [name for name, state in facts.optional.items() if state == "real"]
    fallback = [name for name, state in facts.optional.items() if state == "fallback"]
    if real:
        yield ok(f"from the distribution: {', '.join(real)}")
    if fallback:
        yield note(f"fallback of this package in use: {', '.join(fallback)} (same behaviour; nothing to do)")
    for name, state in facts.optional.items():
        if state not in ("real", "fallback"):
            yield error(f"{name} cannot be imported: {state}", "repair or remove it: without it the fallback is used")
    for name, problem in facts.packages.items():
        if problem:
            advice = _SUPPLIERS.get(name, f"install the ROS package {name}, or source the workspace that has it")
            yield error(f"{name}, which the robot's driver needs, cannot be imported: {problem}", advice)
        else:
            yield ok(f"{name} is there")


def _check_middleware(facts: RosFacts, asked: str) -> Findings:
    if not facts.rmw:
        yield error(
            f"the middleware cannot be loaded (RMW_IMPLEMENTATION={asked or 'unset'})",
            "install it (`apt install ros-$ROS_DISTRO-rmw-fastrtps-cpp`), or unset RMW_IMPLEMENTATION",
        )
    elif "fastrtps" not in facts.rmw:
        router = "; its router must run (`ros2 run rmw_zenoh_cpp rmw_zenohd`)" if "zenoh" in facts.rmw else ""
        yield note(
            f"middleware {facts.rmw}; the stack is tested with rmw_fastrtps_cpp",
            f"configure {facts.rmw} for camera pictures of megabytes, and use it in every process{router}",
        )
    else:
        yield ok(f"middleware {facts.rmw}")


def _check_domain(environment: Mapping[str, str]) -> Findings:
    text = environment.get("ROS_DOMAIN_ID", "")
    if not text:
        yield note(
            "ROS_DOMAIN_ID is not set: domain 0, everybody's default",
            "where others use ROS 2 in the same network, give every terminal of this robot a number of its own (1 to "
            f"{_SAFE_DOMAIN})",
        )
    elif not text.isdecimal() or int(text) > _LAST_DOMAIN:
        yield error(f"ROS_DOMAIN_ID is {text!r}", f"set it to a whole number from 0 to {_SAFE_DOMAIN}")
    elif int(text) > _SAFE_DOMAIN:
        yield warning(
            f"ROS_DOMAIN_ID is {text}: its ports may be taken by other programs on Linux",
            f"use 0 to {_SAFE_DOMAIN}",
        )
    else:
        yield ok(f"ROS_DOMAIN_ID {text}")


def _check_range(environment: Mapping[str, str]) -> Findings:
    if not knows_ranges(environment):
        yield from _check_localhost_only(environment)
        return
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if environment.get("ROS_LOCALHOST_ONLY") == "1":
        yield note("ROS_LOCALHOST_ONLY=1 is outdated", "set ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST instead")
    if reach == "OFF":
        yield error(
            "ROS_AUTOMATIC_DISCOVERY_RANGE is OFF: no node finds another",
            "set it to LOCALHOST (one machine) or SUBNET (the network)",
        )
    elif reach and reach not in _RANGES:
        yield error(f"ROS_AUTOMATIC_DISCOVERY_RANGE is {reach!r}", f"set it to one of {', '.join(_RANGES)}")
    elif not reach:
        yield ok("ROS_AUTOMATIC_DISCOVERY_RANGE is not set: the nodes take LOCALHOST, those of this machine only")
    elif reach == "LOCALHOST":
        yield ok("ROS_AUTOMATIC_DISCOVERY_RANGE LOCALHOST: nodes of this machine only")
    else:
        yield note(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE is {reach}: other machines in the network are heard, and can "
            "command the robot",
            "set it to LOCALHOST where camera, robot and policy run on this machine",
        )


def _check_localhost_only(environment: Mapping[str, str]) -> Findings:
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_STATIC_PEERS"):
        if environment.get(name):
            yield warning(
                f"{name} is set, which ROS 2 {environment['ROS_DISTRO']} does not know",
                "unset it; for several computers use a discovery server (docs/how-to/two-computers.md)",
            )
    if environment.get("ROS_LOCALHOST_ONLY", "1") == "1" and not environment.get("ROS_DISCOVERY_SERVER"):
        yield ok("the nodes take config/fastdds_this_machine.xml: UDP by 127.0.0.1 alone")
    else:
        yield note(
            "other machines in the network are heard, and can command the robot (ROS_LOCALHOST_ONLY is 0, or "
            "ROS_DISCOVERY_SERVER is set)",
            "unset both where camera, robot and policy run on this machine",
        )
