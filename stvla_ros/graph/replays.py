"""A recording in the camera's place: it is checked before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any

from stvla_ros.errors import InputError
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.observer import VIEWS
from stvla_ros.policy.training_record import AUTO, Resolved
from stvla_ros.recordings.bag_reader import BagTopics
from stvla_ros.recordings.open_recording import RATE_FRAMES, frame_rate, open_recording
from stvla_ros.settings import Range, build, check_ranges, parse_mapping


@dataclass(frozen=True)
class ReplayParameters:
    """The parameters in ``replay_parameters``: those of the node ``replay``, with the same names and ranges."""

    image_topic: str = ""
    camera_info_topic: str = ""
    depth_topic: str = ""
    frame_rate: Annotated[float, Range(0.0, 10_000.0)] = 0.0
    rate: Annotated[float, Range(0.01, 100.0)] = 1.0
    intrinsics: tuple[float, ...] = (0.0,) * 4
    frame_id: str = "camera_optical_frame"
    min_subscribers: Annotated[int, Range(0, 1000)] = 1
    start_delay: Annotated[float, Range(0.0, 3600.0)] = 0.5
    end_delay: Annotated[float, Range(0.0, 3600.0)] = 1.0

    def __post_init__(self) -> None:
        if len(self.intrinsics) != 4:
            raise InputError(f"intrinsics: expected fx, fy, cx, cy, got {len(self.intrinsics)} numbers")


@dataclass(frozen=True)
class Replay:
    """
    :param given: given parameters of the node ``replay``.
    :param has_depth: whether the first picture comes with depth.
    :param frame_rate: rate of the recording in pictures a second, by its first ones.
    """

    given: Mapping[str, Any]
    has_depth: bool
    frame_rate: float


def look_at(source: str, parameters: str) -> Replay:
    """
    :param source: path of a video, image folder or bag.
    :param parameters: further parameters of the node ``replay``, a YAML mapping.
    :raises InputError: for a parameter that cannot be used, or a recording that is missing, unreadable or empty.
    """
    name = "replay_parameters"
    given = parse_mapping(name, parameters)
    known = build(ReplayParameters, given, f"{name}.")
    check_ranges(known, f"{name}.")
    topics = BagTopics(known.image_topic, known.camera_info_topic, known.depth_topic)
    problems: list[str] = []
    frames = open_recording(source, topics, known.frame_rate or None, problems.append)
    looked_at = list(islice(frames, RATE_FRAMES))
    rate = frame_rate([frame.stamp_ns for frame in looked_at])
    return Replay(given, any(frame.depth is not None for frame in looked_at), rate * known.rate)


def without_sensor(arguments: RobotArguments, resolved: Resolved) -> Resolved:
    """For a recording without depth: traces on the picture, unless a depth network was asked for.

    :raises InputError: when the sensor's depth was explicitly asked for.
    """
    if resolved.inputs.depth != "sensor":
        return resolved
    how = "give --depth depth_anything or zoedepth, networks that estimate depth from the picture"
    if arguments.depth != AUTO:
        raise InputError(f"depth: expected another than sensor, {arguments.replay} has no depth; {how}")
    note = f"{arguments.replay} has no depth: traces are drawn on the picture alone; {how}"
    inputs = replace(resolved.inputs, depth=NO_DEPTH, depth_parameters={}, traces="rgb")
    return replace(resolved, inputs=inputs, notes=(*resolved.notes, note))


def replay_pacing(arguments: RobotArguments) -> str:
    """``lockstep`` or ``realtime``. :raises InputError: for lockstep where an arm moves."""
    if arguments.replay_pacing == AUTO:
        return "realtime" if arguments.use_fake_hardware else "lockstep"
    if arguments.replay_pacing == "lockstep" and arguments.use_fake_hardware:
        raise InputError("replay_pacing: expected realtime with fake hardware, a driver does not wait for a recording")
    return arguments.replay_pacing


def image_subscribers(fused: bool, inputs: InputsConfig) -> int:
    """Number of nodes that subscribe to the image, so that a recording waits for all of them: the perception (fused, or
    tracker, depth and compositor), the recorder, and the server unless it takes the overlay instead.
    """
    return 2 if fused else 4 + (VIEWS[inputs.traces].picture == "image")
