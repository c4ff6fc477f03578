"""`stvla trace`: the traces of a video, a folder of pictures or a bag, without a robot, a policy or ROS."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import Positional

from stvla_ros.atomic_files import make_folder, write_json
from stvla_ros.errors import InputError
from stvla_ros.perception.coloured_depth import WideningRange
from stvla_ros.perception.compositor import CompositorConfig
from stvla_ros.perception.depth import check_depth_estimator
from stvla_ros.perception.frame_buffer import LARGEST_BUFFER, SMALLEST_BUFFER
from stvla_ros.perception.overlay import draw_traces
from stvla_ros.perception.side_by_side import Caption, side_by_side
from stvla_ros.perception.spatial_traces import SpatialTraces, SpatialTracesConfig
from stvla_ros.perception.stream_checks import DepthWatch
from stvla_ros.perception.trackers import check_tracker
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig
from stvla_ros.perception.types import TracedDepth, Traces
from stvla_ros.recordings.bag_reader import BagTopics
from stvla_ros.recordings.open_recording import RATE_FRAMES, frame_rate, open_recording
from stvla_ros.recordings.run_page import SUMMARY, VIDEO, write_run_page
from stvla_ros.recordings.types import RecordedFrame
from stvla_ros.recordings.video_writer import VideoWriter
from stvla_ros.settings import Range, parse_mapping

AUTO, NONE, SENSOR = "auto", "none", "sensor"
FRAMES = "frames"


@dataclass(frozen=True)
class TraceArguments:
    """Trace what moves in a video, a folder of pictures or a bag. Leaves a video, a page for the browser, and for every
    frame a picture with the traces and their numbers (docs/how-to/trace-your-own-video.md).
    """

    source: Positional[str]
    """Video file, folder of pictures, or rosbag2 (folder, .mcap, .db3)."""
    output: str = ""
    """Folder to make; it must not exist, or be empty. Empty: out/trace/TIME."""
    depth: str = AUTO
    """Source of the depth: sensor (of a bag), zoedepth, depth_anything, constant, one that a package adds, or none;
    auto: sensor if the recording has it, else none."""
    depth_parameters: str = "{}"
    """Parameters of the depth backend, as a YAML mapping."""
    tracker: str = TrackingConfig.tracker
    """Tracker backend: lucas_kanade, cotracker, tapnext, or one that a package adds."""
    tracker_parameters: str = "{}"
    """Parameters of the tracker backend, as a YAML mapping."""
    buffer: Annotated[int, Range(SMALLEST_BUFFER, LARGEST_BUFFER)] = TrackingConfig.buffer
    """Frames in the trace window."""
    adaptive: bool = TrackingConfig.adaptive
    """Stretch the window while motion is slow."""
    variant: Literal["A", "B", "C"] = CompositorConfig.variant
    """Depth at which traces are drawn: the point's own now (A), that of each vertex when it was seen (B), the closest
    object's (C)."""
    frame_rate: Annotated[float, Range(0.0, 10_000.0)] = 0.0
    """Pictures a second, of a folder whose pictures carry no stamps."""
    image_topic: str = ""
    """Topic of the pictures in the bag; empty: the only colour picture that this package has not drawn."""
    depth_topic: str = ""
    """Topic of the depth in the bag; empty: the registered depth beside the picture."""
    most_frames: Annotated[int, Range(0, 10**9)] = 0
    """Largest number of frames; 0 for all."""
    pictures: bool = True
    """Write every frame's picture and numbers besides the video."""


def main(arguments: TraceArguments) -> int:
    """:returns: the exit code. :raises InputError: for a bad argument, or a recording that cannot be used."""
    from tqdm import tqdm

    check_tracker(arguments.tracker, parse_mapping("tracker_parameters", arguments.tracker_parameters))
    topics = BagTopics(image=arguments.image_topic, depth=arguments.depth_topic)
    left_out: list[str] = []
    frames = open_recording(arguments.source, topics, arguments.frame_rate or None, left_out.append)
    first = list(islice(frames, RATE_FRAMES))
    tracer = _Tracer(arguments, any(frame.depth is not None for frame in first))
    folder = _folder(arguments.output)
    rate = frame_rate([frame.stamp_ns for frame in first])
    written, traced, newest = 0, 0, -1
    depth_watch, odd_depths = DepthWatch(), list[str]()
    colours, caption = WideningRange(), Caption(Path(arguments.source).name)
    with (
        VideoWriter(folder / VIDEO, fps=min(max(rate, 1.0), 1000.0)) as video,
        tqdm(desc="trace", unit="frame", file=sys.stderr) as bar,
    ):
        for frame in _wanted(chain(first, frames), arguments.most_frames):
            if frame.stamp_ns <= newest:
                left_out.append(f"{arguments.source}: stamp {frame.stamp_ns} does not follow {newest}")
                continue
            newest = frame.stamp_ns
            if frame.depth is not None and (said := depth_watch.update(frame.depth, frame.stamp_ns, frame.rgb)):
                odd_depths.append(said)
            traces, depth = tracer.step(frame)
            overlay = draw_traces(frame.rgb, traces)
            shown = None if depth is None else depth.traced_depth
            near_far = None if shown is None else colours.update(shown)
            video.write(side_by_side(frame.rgb, shown, overlay, caption, near_far=near_far))
            if arguments.pictures:
                _write_frame(folder / FRAMES, written, overlay, traces, depth)
            written += 1
            traced += traces.points.shape[1] > 0
            bar.update()
    for line in left_out[:1]:
        print(f"note: {len(left_out)} remarks on the recording, the first: {line}", file=sys.stderr)
    if odd_depths and tracer.depth == SENSOR:
        print(f"note: the depth of {len(odd_depths)} frames is odd, the first: {odd_depths[0]}", file=sys.stderr)
    summary = {"task": Path(arguments.source).name, "episodes": [], "frames": written, "frames_with_traces": traced}
    write_json(folder / SUMMARY, {**summary, "tracker": arguments.tracker, "depth": tracer.depth, "fps": rate})
    write_run_page(folder, summary)
    print(f"{written} frames, {traced} with traces, depth: {tracer.depth} · video: {folder / VIDEO}")
    if tracer.depth == NONE:
        print("note: no depth, so traces are on the picture alone; --depth depth_anything or zoedepth estimates it")
    return 0


class _Tracer:
    """The perception with or without depth.

    :param has_depth: whether the recording's first frame comes with depth.
    :raises InputError: when the depth is not available.
    """

    def __init__(self, arguments: TraceArguments, has_depth: bool) -> None:
        self.depth = arguments.depth if arguments.depth != AUTO else (SENSOR if has_depth else NONE)
        if self.depth == SENSOR and not has_depth:
            raise InputError(f"depth: expected another than sensor, {arguments.source} has no depth")
        tracking = TrackingConfig(
            tracker=arguments.tracker,
            buffer=arguments.buffer,
            adaptive=arguments.adaptive,
            tracker_parameters=parse_mapping("tracker_parameters", arguments.tracker_parameters),
        )
        own = parse_mapping("depth_parameters", arguments.depth_parameters)
        if self.depth == NONE:
            self._tracker: TraceTracker | None = TraceTracker(tracking)
        else:
            check_depth_estimator(self.depth, own)
            self._tracker = None
            config = SpatialTracesConfig(tracking, self.depth, own, CompositorConfig(variant=arguments.variant))
            self._traces = SpatialTraces(config)
        if (self._tracker or self._traces).needs_robot:
            raise InputError(f"tracker: expected one that needs no robot, got {arguments.tracker}")

    def step(self, frame: RecordedFrame) -> tuple[Traces, TracedDepth | None]:
        if self._tracker is not None:
            return self._tracker.step(frame.rgb, frame.stamp_ns), None
        result = self._traces.step(frame.rgb, frame.stamp_ns, frame.depth)
        return result.traces, result


def _wanted(frames: Iterator[RecordedFrame], most: int) -> Iterator[RecordedFrame]:
    return islice(frames, most) if most else frames


def _folder(given: str) -> Path:
    """The new or empty output folder. :raises InputError: when it cannot be made."""
    folder = Path(given or f"out/trace/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}").expanduser().resolve()
    make_folder(folder)
    if any(folder.iterdir()):
        raise InputError(f"output {folder}: expected a new or empty folder, it has files")
    return folder


def _write_frame(folder: Path, number: int, overlay: np.ndarray, traces: Traces, depth: TracedDepth | None) -> None:
    import cv2

    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{number:06d}.png"), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
    arrays: dict[str, Any] = {
        "stamp_ns": traces.stamp,
        "points": traces.points,
        "visible": traces.visible,
        "ids": traces.ids,
        "frame_stamps": traces.frame_stamps,
    }
    if depth is not None:
        arrays |= {"depth": depth.depth, "traced_depth": depth.traced_depth}
    np.savez_compressed(folder / f"{number:06d}.npz", **arrays)
