"""The arguments of `stvla sim` and `stvla robot`, and with them of the launch files: each field is an option."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_origin, get_type_hints

import docstring_parser

from stvla_ros.control.chunk_execution import ENSEMBLED_CHUNKS
from stvla_ros.control.safety.limits import Mode
from stvla_ros.errors import InputError
from stvla_ros.perception.frame_buffer import LARGEST_BUFFER, SMALLEST_BUFFER
from stvla_ros.policy.inputs import INPUT_NAMES, InputsConfig
from stvla_ros.policy.registry import DEFAULT_POLICY, takes_parameter
from stvla_ros.policy.training_record import AUTO
from stvla_ros.settings import Range, one_line_yaml, parse_mapping
from stvla_ros.sim.tasks import AUTO_TASK

_TOPIC = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class PerceptionArguments:
    """The arguments that simulation and robot share."""

    policy: str = DEFAULT_POLICY
    """Policy that acts: stvla, expert (the simulator's scripted one), random, one that a package adds, or a class of
    your own by its place, my_package.my_module:MyPolicy."""
    checkpoint: str = ""
    """stvla's checkpoint: a folder, an adapter's folder, the name of a shipped model (small), or a hub id; empty for
    small."""
    device: str = "auto"
    """Device of the policy: auto, cpu, cuda or cuda:N."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the policy's weights."""
    unnorm_key: str = ""
    """Key of the checkpoint's action statistics; empty for the robot's own."""
    policy_parameters: str = "{}"
    """Further parameters of the policy, as a YAML mapping."""
    execution: Literal[
        "auto", "receding", "chunk", "ensemble", "mean_ensemble", "adaptive_ensemble", "anchored", "anchored_mean"
    ] = "auto"
    """Execution of the policy's chunks: first action only, open loop, or averaged over the last chunks (with the
    published weights, equal ones, by agreement); auto: what the checkpoint was trained for, else ensemble."""
    ensembled_chunks: int = ENSEMBLED_CHUNKS
    """Number of the last chunks that are averaged, in executions that average (ST4VLA's evaluation: 7 on the WidowX, 2
    on the Google robot, 3 in LIBERO)."""
    traces: Literal["auto", "none", "depth", "rgb", "beside"] = "auto"
    """What the traces are drawn on: nothing (SpatialVLA), the depth (ST-VLA) or the picture (as TraceVLA). beside: the
    policy gets them as numbers, which needs a checkpoint that was trained so; auto: as the checkpoint was trained, else
    depth."""
    depth: str = "auto"
    """Depth backend: sensor, constant (the same distance everywhere), zoedepth, depth_anything, or one
    that a package adds; auto: as trained, else sensor."""
    depth_parameters: str = "auto"
    """Parameters of the depth backend, as a YAML mapping; auto: as trained, else none."""
    tracker: str = "auto"
    """Tracker backend: lucas_kanade, cotracker, tapnext, or one that a package adds; auto: as trained, else
    lucas_kanade."""
    tracker_parameters: str = "auto"
    """Parameters of the tracker backend, as a YAML mapping; auto: as trained, else none."""
    variant: Literal["auto", "A", "B", "C"] = "auto"
    """Depth at which traces are drawn: the point's own now (A), that of each vertex when it was seen (B), the closest
    object's (C); auto: as trained, else C."""
    drawing: str = "auto"
    """Further options of the drawing: the compositor's line_width, age_step, near_depth, …, as a YAML mapping; auto: as
    trained, else none."""
    buffer: Annotated[int | Literal["auto"], Range(SMALLEST_BUFFER, LARGEST_BUFFER)] = "auto"
    """Frames in the trace window; auto: as trained, else 30."""
    adaptive: Literal["auto", "true", "false"] = "auto"
    """Stretch the trace window while motion is slow; auto: as trained, else true."""
    resize: Literal["auto", "bicubic", "area"] = "auto"
    """Method of resizing pictures to the policy's size; auto: as trained, else bicubic."""
    explain: bool = False
    """Have a policy that answers in words (ST4VLA) tell, beside acting, where it sees things and where it goes: shown
    in the video and in rviz."""
    fused: bool = False
    """Perception and policy in one process instead of separate nodes."""
    rviz: bool = False
    """Start rviz2 with config/stvla.rviz."""
    record: bool = False
    """Write an MCAP bag of the run."""
    params_file: str = ""
    """ROS 2 parameter file that overrides single parameters; /**/NODE means the node in any namespace."""
    namespace: str = ""
    """Of all nodes and their topics, as left or /left, where several robots share a ROS domain; empty for none."""
    start: Literal["all", "perception", "server", "driver", "sim"] = "all"
    """Only this part of the graph, where the others are started elsewhere, with the same arguments; sim: the simulator
    or the recording, with its recorder."""
    run: str = ""
    """Name of the run, by which its nodes tell what is theirs; give all parts (start) of a graph the same one. Empty:
    the run's folder, and for a part alone none, so that it takes what any run says."""
    autostart: bool = True
    """The nodes configure and activate themselves; false: a lifecycle manager does."""
    respawn: Literal["auto", "true", "false"] = "auto"
    """Start a node again that failed (true: perception, server and driver); auto: on a robot, not in simulation."""
    use_sim_time: Literal["auto", "true", "false"] = "auto"
    """Go by the topic clock; auto: where a recording is played."""
    log_level: Literal["debug", "info", "warn", "error", "fatal"] = "info"
    """What the nodes write: this level and above."""


@dataclass(frozen=True)
class SimArguments(PerceptionArguments):
    """Run the graph against a simulator: episodes of one task, a video and a summary."""

    task: str = AUTO_TASK
    """Task, see `stvla tasks`; auto: stack_cube, or panda_pick_cube where the scenes of stack_cube cannot be had."""
    episodes: Annotated[int, Range(0, 1_000_000)] = 3
    """Episodes to run; 0 for no end."""
    first_episode: Annotated[int, Range(0, 1_000_000)] = 0
    """episode_id of the first episode."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of the simulator."""
    pacing: Literal["lockstep", "realtime"] = "lockstep"
    """Simulated time waits for each command, or runs on the clock."""
    joint_level: bool = False
    """Realtime, WidowX tasks: the robot's own driver moves the simulated joints, with its safety gate."""
    max_steps: Annotated[int, Range(0, 1_000_000)] = 0
    """Time limit in control steps; 0 for the task's own."""
    video: bool = True
    """Write video.mp4."""
    output: str = "out/sim"
    """Folder for the runs; the newest is its `latest`."""


@dataclass(frozen=True)
class RobotArguments(PerceptionArguments):
    """Run the graph on a robot's camera, or on a recording in its place."""

    robot: str = "widowx"
    """Embodiment: widowx, ur5e_robotiq, fr3, xarm6, xarm7, so101, google_robot (panda: simulation alone), or a YAML
    file like config/robot_template.yaml."""
    instruction: str = ""
    """Instruction for the robot; empty: goals come from others, by the action execute_instruction."""
    use_fake_hardware: bool = False
    """Use a kinematic stand-in of the arm in place of the robot's own driver software."""
    dry_run: bool = False
    """Compute and show every motion, send none to the robot."""
    home_first: bool = False
    """Move to the home position as soon as the robot is up."""
    mode: Mode = "reduced"
    """Speed limit for every point of the arm: reduced (0.25 m/s), or full (as in the robot's file)."""
    deadman: Literal["none", "joy", "service"] = "none"
    """Enabling device that must be held while the arm may move: a joystick's button, or a service that is called again
    and again."""
    estop_heartbeat: Annotated[float, Range(0.0, 60.0)] = 0.0
    """Seconds without a message on the topic estop after which the arm is stopped; 0: no limit."""
    latch_folder: str = ""
    """Folder in which stops are kept until the driver's reset; empty: ~/.local/state/stvla_ros/latches, or on fake
    hardware the run's own folder."""
    allow_preemption: bool = False
    """A new goal replaces the running one, whoever sent it; otherwise it is rejected."""
    image_topic: str = "camera/camera/color/image_raw"
    """Topic of the camera driver's colour image."""
    camera_info_topic: str = "camera/camera/color/camera_info"
    """Topic of the colour image's intrinsics."""
    depth_topic: str = "camera/camera/aligned_depth_to_color/image_raw"
    """Topic of the depth registered to the colour image (for depth:=sensor)."""
    image_transport: Literal["auto", "raw", "compressed"] = "auto"
    """Transport of pictures and depth; auto: by the topics' types, these topics' or those that image_transport puts
    beside them."""
    camera_pose: str = ""
    """Pose of the camera's optical frame in the robot's base frame: x y z roll pitch yaw, metres and radians about the
    fixed axes, or a YAML file with camera_pose: [x, y, z, roll, pitch, yaw]. It is published on tf_static, so that
    traces show on the arm, and used by the tracker kinematic and by ignore_robot; empty: taken from tf_static."""
    replay: str = ""
    """Play this video, image folder or bag instead of a live camera; the run ends with it and leaves a video. A robot
    moves on it only as fake hardware."""
    replay_pacing: Literal["auto", "lockstep", "realtime"] = "auto"
    """Pacing of the recording: every frame, as fast as the machine can (lockstep), or as recorded, with frames dropped
    when the machine is too slow (realtime); auto: lockstep unless fake hardware moves on it."""
    replay_parameters: str = "{}"
    """Further parameters of the replay node, as a YAML mapping: image_topic, intrinsics, frame_rate, …"""
    output: str = "out/robot"
    """Folder for the runs; the newest is its `latest`."""


def check_topics(arguments: Any, without_depth: bool = False) -> None:
    """
    :param arguments: arguments with the camera's topics, such as ``RobotArguments``.
    :param without_depth: whether the depth's topic may be empty, for a camera without depth.
    :raises InputError: for invalid names, or the same name twice.
    """
    names = ("image_topic", "camera_info_topic", "depth_topic")
    topics = [getattr(arguments, name) for name in names]
    for name, topic in zip(names, topics):
        if not _TOPIC.fullmatch(topic) and (topic or name != "depth_topic" or not without_depth):
            raise InputError(f"{name}: expected a topic's name, got {topic!r}")
    if len({topic.lstrip("/") for topic in topics}) < len(topics):
        raise InputError(f"{', '.join(names)}: expected different topics, got {', '.join(topics)}")


def field_docstrings(kind: type) -> dict[str, str]:
    """The text below each field of a dataclass and of its bases, on one line, by the field's name."""
    parsed = [docstring_parser.parse_from_object(base) for base in reversed(kind.__mro__[:-1])]
    return {field.arg_name: " ".join((field.description or "").split()) for each in parsed for field in each.params}


def given_inputs(arguments: PerceptionArguments) -> dict[str, Any]:
    """The given fields of :class:`InputsConfig`. :raises InputError: for a text that is no YAML mapping."""
    given = {name: value for name in INPUT_NAMES if (value := getattr(arguments, name)) != AUTO}
    return {name: _from_text(name, value) for name, value in given.items()}


def input_arguments(inputs: InputsConfig, policy: str, checkpoint: str) -> dict[str, Any]:
    """The arguments that give a policy these inputs whatever its checkpoint says; :func:`given_inputs` reads them.

    :param policy: registered name of the policy; one that resizes no pictures gets no resize.
    :param checkpoint: checkpoint of the policy; empty for none.
    """
    names = [name for name in INPUT_NAMES if name != "resize" or takes_parameter(name, policy, checkpoint)]
    return {name: _to_text(getattr(inputs, name)) for name in names}


def _from_text(name: str, value: Any) -> Any:
    kind = get_type_hints(InputsConfig)[name]
    if get_origin(kind) is Mapping:
        return parse_mapping(name, value)
    return value == "true" if kind is bool else value


def _to_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return one_line_yaml(value)
    return str(value).lower() if isinstance(value, bool) else value
