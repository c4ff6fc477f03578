"""Check 4: the camera's pictures, and the depth that belongs to them."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.doctor.findings import Finding, Findings, error, note, ok, warning
from stvla_ros.doctor.records import Heard, Pictures, Stream
from stvla_ros.doctor.streams import (
    Timing,
    check_presence,
    check_single_publisher,
    check_stamps,
    check_timing,
    listed,
    paired,
    partners_text,
    sizes_text,
)
from stvla_ros.perception.frame_pairs import describe_lone
from stvla_ros.perception.stream_checks import HOLD_S, LITTLE_DEPTH, NO_DEPTH, unlikely_distance

_START = (
    "start the camera's driver, for a RealSense: `ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true "
    "enable_sync:=true`"
)
# Share of frames with a partner, below which something is wrong.
_FEW_PAIRS = 0.95
_CLOCK_HINT = "somebody publishes /clock: for a recording that is played, give --use-sim-time"


@dataclass(frozen=True)
class CameraNeeds:
    """
    :param control_hz: control steps a second, each of which needs a picture.
    :param oldest_s: age in seconds beyond which no command to an observation is executed.
    :param use_sim_time: whether ages were measured by ``/clock``.
    """

    control_hz: float
    oldest_s: float
    use_sim_time: bool = False

    @property
    def timing(self) -> Timing:
        # If the camera is as slow as the control steps, some pictures come a little after their step.
        return Timing(self.control_hz, 2.0 / self.control_hz, "control steps get no new picture")


def check_camera(heard: Heard, needs: CameraNeeds) -> Findings:
    hint = _CLOCK_HINT if heard.clock_publishers and not needs.use_sim_time else ""
    if needs.use_sim_time and not heard.clock_publishers:
        yield error("nobody publishes /clock", "start what publishes it (a replay), or leave --use-sim-time out")
    info = heard.camera_info.stream
    streams = [heard.image.stream, info, *([heard.depth.stream] if heard.depth else [])]
    if not any(stream.publishers for stream in streams):
        yield _nothing(streams)
        return
    yield from _check_pictures(heard.image, "image", needs, hint)
    if heard.camera_info.latched:
        yield note(f"{info.topic}: was sent once, and left on the topic; it is used for all pictures")
    else:
        yield from check_presence(info, _START, _setting("camera_info"))
    if info.count:
        yield from check_single_publisher(info)
        yield from _check_info_stamps(heard.image.stream, info)
    if heard.depth is None:
        yield note("no depth topic was given", "the graph then needs depth:=depth_anything, zoedepth or constant")
        return
    yield from _check_pictures(heard.depth, "depth", needs, hint)
    if heard.depth.stream.count:
        yield from _check_depth(heard.depth)
    if heard.depth.stream.count and heard.image.stream.count:
        yield from _check_registration(heard.image, heard.depth)
        yield from _check_depth_stamps(heard.image.stream, heard.depth.stream, needs.control_hz)


def _setting(name: str) -> str:
    without = " (empty for a camera without depth)" if name == "depth" else ""
    return f"{_option(name)}{without} here, {name}_topic:= in robot.launch.py"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}-topic"


def _nothing(streams: list[Stream]) -> Finding:
    """None of the topics has a publisher: one line for all."""
    names = ("image", "camera_info", "depth")[: len(streams)]
    options, arguments = ", ".join(map(_option, names)), ", ".join(f"{name}_topic:=" for name in names)
    there = "; ".join(f"{stream.type} comes on {listed(stream.others)}" for stream in streams[:2] if stream.others)
    return error(
        f"nobody publishes {', '.join(stream.topic for stream in streams)}",
        f"{_START}; where its topics have other names, give them: {options} here, {arguments} in robot.launch.py"
        + (f" ({there})" if there else ""),
    )


def _check_pictures(pictures: Pictures, name: str, needs: CameraNeeds, hint: str) -> Findings:
    stream = pictures.stream
    yield from check_presence(stream, _START, _setting(name))
    if not stream.count:
        return
    yield from check_single_publisher(stream)
    sizes = sizes_text(pictures.sizes)
    yield from check_timing(stream, needs.timing, (sizes, ", ".join(sorted(pictures.encodings))))
    yield from check_stamps(stream, needs.oldest_s, hint)
    if pictures.problem:
        yield error(pictures.problem, "have the driver publish an encoding that is named there")
    if pictures.stuck:
        yield error(
            f"{stream.topic}: {pictures.stuck}; the policy does not act on it",
            "restart the camera's driver; leave only one driver that publishes here; look at the depth in rviz",
        )
    if len(pictures.sizes) > 1:
        yield error(f"{stream.topic}: the size changes: {sizes}", "set one resolution in the driver's parameters")
    if "" in stream.frame_ids:
        yield warning(
            f"{stream.topic}: frame_id is empty, so rviz cannot place the pictures",
            "set the driver's frame_id to the camera's optical frame",
        )
    if len(stream.frame_ids) > 1:
        yield warning(
            f"{stream.topic}: frame_id changes: {', '.join(sorted(stream.frame_ids))}", "end all publishers but one"
        )


def _check_info_stamps(image: Stream, info: Stream) -> Findings:
    if not image.count:
        return
    pairs, apart_s = paired(image.stamps_ns, info.stamps_ns)
    text = f"{info.topic}: {partners_text(pairs, apart_s, 'one')}"
    if pairs.mean() < _FEW_PAIRS:
        yield warning(
            f"{text}; the newest is used for all",
            "have the driver publish camera_info with every picture and its stamp",
        )
    else:
        yield ok(text)
    strangers = info.frame_ids - image.frame_ids
    if strangers:
        yield warning(
            f"{info.topic}: frame_id {', '.join(sorted(strangers))} is not the pictures' "
            f"({', '.join(sorted(image.frame_ids))})",
            "give the camera_info topic that belongs to the image topic",
        )


def _check_depth(depth: Pictures) -> Findings:
    if not len(depth.valid_shares):
        return
    topic, share = depth.stream.topic, float(depth.valid_shares.mean())
    if share < NO_DEPTH:
        yield error(
            f"{topic}: {share:.1%} of the pixels have a distance",
            "uncover the sensor, look at the depth in rviz, and keep the scene beyond its shortest distance",
        )
        return
    median = float(np.nanmedian(depth.medians_m))
    text = f"{topic}: {share:.0%} of the pixels have a distance, median {median:.2f} m"
    if share < LITTLE_DEPTH:
        yield warning(text, "move the camera nearer or farther, avoid sunlight, glass and shiny metal")
    else:
        yield ok(text)
    if depth.still_s > HOLD_S:
        yield warning(
            f"{topic}: no new depth for {depth.still_s:.1f} s under new stamps: a working sensor repeats no map",
            "restart the camera's driver; a depth that is made up may be constant",
        )
    if said := unlikely_distance(median):
        yield error(f"{topic}: {said}", "have the driver send 16UC1 in millimetres, or 32FC1 in metres")


def _check_registration(image: Pictures, depth: Pictures) -> Findings:
    topic = depth.stream.topic
    if depth.sizes != image.sizes:
        yield error(
            f"{topic}: {sizes_text(depth.sizes)} pixels, the picture has {sizes_text(image.sizes)}: it is not "
            "registered to the picture",
            "give the registered depth (RealSense: align_depth.enable:=true and aligned_depth_to_color/image_raw)",
        )
        return
    if depth.stream.frame_ids != image.stream.frame_ids:
        yield note(
            f"{topic}: frame_id {', '.join(sorted(depth.stream.frame_ids))}, the picture's is "
            f"{', '.join(sorted(image.stream.frame_ids))}",
            "make sure that the depth is registered to the colour camera, and not just of the same size",
        )


def _check_depth_stamps(image: Stream, depth: Stream, control_hz: float) -> Findings:
    pairs, apart_s = paired(image.stamps_ns, depth.stamps_ns)
    pairs_hz = float(pairs.sum() / max(image.listened_s, 1e-9))
    text = f"{depth.topic}: {partners_text(pairs, apart_s, 'a depth')}"
    if not pairs.any():
        stamps, depths = image.stamps_ns.tolist(), depth.stamps_ns.tolist()
        text += f" ({describe_lone(image.count, stamps, depth.count, depths)})"
    advice = "have the driver synchronise colour and depth (RealSense: enable_sync:=true), and give both the same rate"
    # The first and last moments do not count: not both streams were heard in them.
    if not pairs.any() or pairs_hz < 0.8 * control_hz:
        yield error(f"{text}; a frame is used only with its depth", advice)
    elif pairs.mean() < _FEW_PAIRS:
        yield warning(f"{text}; the others are not used", advice)
    else:
        yield ok(text)
