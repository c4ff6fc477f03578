"""`stvla doctor`: checks a machine before a robot is driven on it, and gives advice on its findings."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from stvla_ros.control.safety.latch import default_latch_folder
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.doctor.camera import CameraNeeds, check_camera
from stvla_ros.doctor.clocks import check_clocks
from stvla_ros.doctor.entry_points import check_entry_points
from stvla_ros.doctor.findings import Findings, Section, count_levels, error, examine, note
from stvla_ros.doctor.gpu import check_gpu, torch_facts
from stvla_ros.doctor.intrinsics import check_camera_info
from stvla_ros.doctor.latches import check_latches
from stvla_ros.doctor.records import Heard, Wanted
from stvla_ros.doctor.report import line_width, section_text, summary_text, write_report
from stvla_ros.doctor.robot_file import check_geometry, check_robot_file, find_robot_file
from stvla_ros.doctor.robot_state import check_joint_states, check_poses, check_services
from stvla_ros.doctor.ros import RosFacts, check_ros
from stvla_ros.doctor.segments import (
    check_lost_pictures,
    check_receive_buffer,
    check_small_segments,
    read_receive_buffer,
    small_segments,
)
from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments, check_topics
from stvla_ros.graph.names import absolute_namespace, full_name
from stvla_ros.middleware import middleware_problem
from stvla_ros.robots.drivers import DriverNeeds
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, Embodiment, read_embodiment
from stvla_ros.shared_files import config_directory

Area = Literal["ros", "dds", "gpu", "plugins", "robot", "checkpoint", "camera", "intrinsics", "state", "clocks"]
TITLES: dict[Area, str] = {
    "ros": "ROS 2",
    "dds": "Fast DDS",
    "gpu": "GPU",
    "plugins": "what other packages add",
    "robot": "robot's file",
    "checkpoint": "checkpoint",
    "camera": "camera",
    "intrinsics": "camera's intrinsics",
    "state": "robot's state",
    "clocks": "clocks of the nodes",
}
_PROFILE = config_directory() / "fastdds.xml"
LIVE: tuple[Area, ...] = ("camera", "intrinsics", "state", "clocks")
# Used when the robot's file cannot be read.
_CONTROL_HZ, _OLDEST_S = 5.0, 1.5
_SHORTEST_S, _LONGEST_S = 0.5, 600.0


@dataclass(frozen=True)
class DoctorArguments:
    """Check this machine before a robot is driven on it. Start the camera's and the robot's own drivers first. Ends
    with 0 when there is no error, else with 1.
    """

    robot: str = RobotArguments.robot
    """Embodiment: widowx, ur5e_robotiq, fr3, xarm6, xarm7, so101, google_robot (panda: simulation alone), or a YAML
    file like config/robot_template.yaml."""
    image_topic: str = RobotArguments.image_topic
    """Topic of the camera driver's colour image."""
    camera_info_topic: str = RobotArguments.camera_info_topic
    """Topic of the colour image's intrinsics."""
    depth_topic: str = RobotArguments.depth_topic
    """Topic of the depth registered to the colour image; empty if the camera has no depth."""
    checkpoint: str = RobotArguments.checkpoint
    """The policy's checkpoint: a folder, an adapter's folder or a hub id; empty for the shipped small one."""
    unnorm_key: str = RobotArguments.unnorm_key
    """Key of the checkpoint's action statistics; empty for the robot's own."""
    namespace: str = RobotArguments.namespace
    """Namespace of the robot, as left or /left: topics and services without a slash in front lie in it."""
    latch_folder: str = RobotArguments.latch_folder
    """Folder in which the robot's driver keeps its stops; empty: ~/.local/state/stvla_ros/latches."""
    seconds: float = 5.0
    """Time to listen to the topics, seconds."""
    live: bool = True
    """Run the checks that need running topics; --no-live leaves them out."""
    use_sim_time: bool = False
    """Take the time from /clock, as for a recording that is played."""
    only: tuple[Area, ...] = ()
    """Run only these checks."""
    json: str = ""
    """File for the findings as JSON."""


def main(arguments: DoctorArguments) -> int:
    """
    :returns: exit code: 0 without errors, else 1.
    :raises InputError: for a bad argument.
    """
    if not _SHORTEST_S <= arguments.seconds <= _LONGEST_S:
        raise InputError(f"seconds: expected {_SHORTEST_S} to {_LONGEST_S:g}, got {arguments.seconds}")
    check_topics(arguments, without_depth=True)
    namespace = absolute_namespace(arguments.namespace)
    output = Path(arguments.json).resolve() if arguments.json else None
    if output and (output.is_dir() or not output.parent.is_dir()):
        raise InputError(f"json: expected a file in a folder that exists, got {arguments.json}")
    doctor = Doctor(replace(arguments, namespace=namespace), find_robot_file(arguments.robot), dict(os.environ))
    width, sections = line_width(), []
    for section in doctor.examine():
        sections.append(section)
        print(section_text(section, width), end="\n\n", flush=True)
    print(summary_text(sections))
    if output:
        write_report(output, sections)
    return 1 if count_levels(sections)["error"] else 0


class Doctor:
    """
    :param robot_file: file of the robot, readable or not.
    :param environment: environment of the process as its user set it (nodes/kit/base.py adds to it).
    """

    def __init__(self, arguments: DoctorArguments, robot_file: Path, environment: dict[str, str]) -> None:
        self._arguments, self._robot_file, self._environment = arguments, robot_file, environment

    def examine(self) -> Iterator[Section]:
        """The sections, each as soon as its check has ended."""
        checks: dict[Area, Callable[[], Findings]] = {
            "ros": self._check_ros,
            "dds": self._check_fastdds,
            "gpu": lambda: check_gpu(torch_facts()),
            "plugins": check_entry_points,
            "robot": self._check_robot,
            "checkpoint": self._check_checkpoint,
            "camera": lambda: self._with_ros(self._check_camera),
            "intrinsics": lambda: self._with_ros(self._check_intrinsics),
            "state": lambda: self._with_ros(self._check_state),
            "clocks": lambda: self._with_ros(
                lambda: check_clocks(self._heard.clock_ages_s, self._arguments.use_sim_time)
            ),
        }
        for area in get_args(Area):
            if self._arguments.only and area not in self._arguments.only:
                continue
            if area in LIVE and not self._arguments.live:
                continue
            yield examine(area, TITLES[area], checks[area])

    # --- without topics ----------------------------------------------------------------------------------------------
    # stvla_ros.nodes is imported where it is needed: without ROS 2 the other checks still run.

    @cached_property
    def _ros(self) -> RosFacts:
        from stvla_ros.doctor.ros_facts import ros_facts

        if problem := middleware_problem(self._environment):
            # Loading rclpy would end this process.
            return RosFacts("", middleware_problem=problem)
        return ros_facts(self._needs.packages)

    def _check_ros(self) -> Findings:
        return check_ros(self._ros, self._environment)

    def _check_fastdds(self) -> Findings:
        from stvla_ros.doctor.fastdds import check_fastdds, read_shared_memory
        from stvla_ros.doctor.ros_facts import fastdds_variable

        rmw = self._ros.rmw  # loads the middleware, whose library tells the variable
        yield from check_fastdds(self._environment, rmw, fastdds_variable(), _PROFILE, read_shared_memory())
        if not rmw or "fastrtps" in rmw:
            yield from check_receive_buffer(read_receive_buffer(), self._environment)
            yield from check_small_segments(small_segments(), _PROFILE)

    def _check_robot(self) -> Findings:
        yield from check_robot_file(self._robot_file)
        if (embodiment := self._embodiment) is not None and embodiment.driver is not None:
            given = self._arguments.latch_folder
            folder = Path(given).expanduser() if given else default_latch_folder()
            yield from check_latches(folder, embodiment.driver.executable, self._arguments.namespace)

    def _check_checkpoint(self) -> Findings:
        from stvla_ros.doctor.checkpoint import check_checkpoint

        fallback_unnorm_key = self._embodiment.unnorm_key if self._embodiment else ""
        given = self._arguments
        return check_checkpoint(given.checkpoint, given.unnorm_key, fallback_unnorm_key, given.depth_topic)

    # --- the robot ---------------------------------------------------------------------------------------------------

    @cached_property
    def _embodiment(self) -> Embodiment | None:
        """The robot's description. None if its file cannot be read; the check of the file says why."""
        try:
            return read_embodiment(self._robot_file)
        except InputError:
            return None

    @property
    def _limits(self) -> SafetyLimits | None:
        driver = self._embodiment.driver if self._embodiment else None
        return driver.limits if driver else None

    @property
    def _needs(self) -> DriverNeeds:
        """The driver's needs; none if the robot's file does not name a driver."""
        driver = self._embodiment.driver if self._embodiment else None
        try:
            return driver.needs() if driver else DriverNeeds()
        except InputError:
            return DriverNeeds()

    @property
    def _camera_needs(self) -> CameraNeeds:
        control_hz = self._embodiment.control_hz if self._embodiment else _CONTROL_HZ
        oldest_s = self._limits.observation_age if self._limits else _OLDEST_S
        return CameraNeeds(control_hz, oldest_s, self._arguments.use_sim_time)

    @property
    def _asks_for_description(self) -> bool:
        driver = self._embodiment.driver if self._embodiment else None
        return driver is not None and driver.arm is not None and driver.arm.urdf == ROBOT_DESCRIPTION

    # --- with topics -------------------------------------------------------------------------------------------------

    def _with_ros(self, check: Callable[[], Findings]) -> Findings:
        if self._ros.problem or self._ros.middleware_problem or self._ros.messages_problem:
            yield error("not checked: without ROS 2 there is nothing to listen to", "see the section ROS 2")
        else:
            yield from check()

    def _check_camera(self) -> Findings:
        heard = self._heard
        yield from check_camera(heard, self._camera_needs)
        yield from check_lost_pictures(heard.image.stream, heard.camera_info.stream, _PROFILE, small_segments())

    def _check_intrinsics(self) -> Findings:
        return check_camera_info(self._heard.camera_info, self._heard.image.sizes)

    @property
    def _heard(self) -> Heard:
        """Everything that was heard; the listening happens once. :raises Exception: whatever ended the listening, each
        time.
        """
        outcome = self._outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @cached_property
    def _outcome(self) -> Heard | Exception:
        arguments, needs = self._arguments, self._needs
        wanted = Wanted(
            image_topic=arguments.image_topic,
            camera_info_topic=arguments.camera_info_topic,
            depth_topic=arguments.depth_topic,
            joint_states_topic=needs.joint_states_topic,
            joints=needs.joints,
            pose_topic=needs.pose_topic,
            robot_description=needs.description_topic if self._asks_for_description else "",
            seconds=arguments.seconds,
            use_sim_time=arguments.use_sim_time,
            namespace=arguments.namespace,
        )
        print(f"listening for {arguments.seconds:g} s …", file=sys.stderr, flush=True)
        try:
            from stvla_ros.doctor.listener import listen

            return listen(wanted)
        except Exception as problem:  # each check that needs it reports it
            return problem

    def _check_state(self) -> Findings:
        needs, limits = self._needs, self._limits
        if self._embodiment is None or limits is None:
            yield note(
                f"not checked: {self._robot_file} "
                + ("cannot be read" if self._embodiment is None else "describes a robot without a driver")
            )
            return
        heard = self._heard
        if heard.joint_states:
            yield from check_joint_states(heard.joint_states, needs, limits)
        elif heard.poses:
            yield from check_poses(heard.poses, needs, self._embodiment.base_frame, limits)
        else:
            yield error("not checked: driver.settings do not name the topic", "see the section robot's file")
        told = heard.joint_states is not None and not heard.joint_states.stream.publishers
        yield from check_services(heard.services, needs, told, self._arguments.namespace)
        if self._asks_for_description:
            yield from self._check_description(heard.robot_description)

    def _check_description(self, urdf: str) -> Findings:
        driver = self._embodiment.driver
        if not urdf:
            topic = full_name(self._needs.description_topic, self._arguments.namespace)
            yield error(
                f"nothing came on {topic}, where the driver takes the URDF from",
                "start robot_state_publisher (it is part of most robots' bring-up), or name a file in driver.arm.urdf",
            )
        else:
            yield from check_geometry(driver, driver.arm, urdf)
