"""Does the moving gripper carry a trace, at full speed and at a tenth of it, with adaptive traces off and on?

``python -m bench.adaptive_traces [task ...]``. A frame counts when the gripper's tool point moved in the picture
since the last one (by more than 1 px at full speed, 0.1 px at a tenth) and the warm-up is over. It carries a trace
when a trace's newest point lies on the gripper, or within 2 px of it. For comparison, TraceVLA's rule (arXiv
2412.10345) on the same tracks: mean L1 step above 1 px, 5 of those points.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from bench.tracker_episodes import RecordedEpisode, record_episode
from stvla_ros.perception.geometry import project
from stvla_ros.perception.moving_points import motion
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig
from stvla_ros.perception.types import Traces

SPEEDS = {"full": 1, "tenth": 10}
BUFFERS = (7, 30)
TASKS = ("stack_cube", "spoon_on_towel")
_MARGIN = 2  # px


def tool_pixels(episode: RecordedEpisode) -> np.ndarray:
    """(T, 2) pixels of the gripper's tool point."""
    points = []
    for seen in episode.observations:
        camera_from_gripper = np.linalg.inv(seen.base_from_camera) @ seen.base_from_gripper
        points.append(project(camera_from_gripper[:3, 3], seen.intrinsics))
    return np.asarray(points)


def gripper_trace_share(
    episode: RecordedEpisode,
    step: Callable[[np.ndarray, int], Traces],
    slowdown: int,
    warm_up: int,
) -> tuple[int, int, float]:
    """:return: number of frames in which the gripper moved; of those in which it also carried a trace; and in the
    latter the median length of the longest trace on it, pixels.
    """
    moved = np.linalg.norm(np.diff(tool_pixels(episode), axis=0, prepend=np.nan), axis=1) > 1.0 / slowdown
    kernel = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
    carried, lengths = 0, []
    for frame, seen in enumerate(episode.observations):
        traces = step(seen.rgb, frame)
        if not moved[frame] or frame < warm_up:
            continue
        mask = cv2.dilate(episode.kind_mask(frame, "gripper").astype(np.uint8), kernel)
        x, y = np.rint(traces.points[-1]).astype(int).T
        on_gripper = mask[y, x] > 0
        if on_gripper.any():
            carried += 1
            lengths.append(float(motion(traces)[0][on_gripper].max()))
    return int(moved[warm_up:].sum()), carried, float(np.median(lengths)) if lengths else 0.0


def tracevla_rule(tracker: TraceTracker) -> Callable[[np.ndarray, int], Traces]:
    """A step function that selects 5 points as TraceVLA does, from the same tracker's points."""
    chance = np.random.default_rng(0)

    def step(rgb: np.ndarray, stamp_ns: int) -> Traces:
        tracker.step(rgb, stamp_ns)
        traces = tracker.tracker.buffer.traces()
        whole = traces.visible.all(axis=0)
        steps = np.abs(np.diff(traces.points, axis=0)).sum(axis=2)
        active = np.flatnonzero(whole & (steps.mean(axis=0) > 1.0)) if len(steps) else np.zeros(0, int)
        chosen = chance.permutation(active)[:5]
        return Traces(
            traces.points[:, chosen],
            traces.visible[:, chosen],
            traces.ids[chosen],
            traces.frame_stamps,
            traces.image_size,
        )

    return step


def rows(tasks: Sequence[str] = TASKS) -> list[dict[str, Any]]:
    """One row for each task, speed, buffer size and setting."""
    result: list[dict[str, Any]] = []
    for task in tasks:
        for speed, slowdown in SPEEDS.items():
            episode = record_episode(task, slowdown=slowdown)
            for buffer in BUFFERS:
                plain = TrackingConfig(buffer=buffer, adaptive=False)
                settings = {
                    "off": TraceTracker(plain).step,
                    "on": TraceTracker(TrackingConfig(buffer=buffer, adaptive=True)).step,
                    "TraceVLA's rule": tracevla_rule(TraceTracker(plain)),
                }
                for name, step in settings.items():
                    frames, carried, length = gripper_trace_share(episode, step, slowdown, plain.warm_up_frames)
                    result.append(
                        {
                            "task": task,
                            "speed": speed,
                            "buffer": buffer,
                            "adaptive": name,
                            "moving_frames": frames,
                            "with_trace": carried,
                            "share": carried / max(1, frames),
                            "trace_px": length,
                        }
                    )
    return result


def main() -> None:
    print(f"{'task':22}{'speed':8}{'buffer':>6}  {'adaptive':16}{'with a trace on the gripper':>28}{'trace px':>10}")
    for row in rows(sys.argv[1:] or TASKS):
        share = f"{row['with_trace']}/{row['moving_frames']} = {100 * row['share']:.0f} %"
        setting = f"{row['task']:22}{row['speed']:8}{row['buffer']:>6}  {row['adaptive']:16}"
        print(f"{setting}{share:>28}{row['trace_px']:>10.0f}")


if __name__ == "__main__":
    main()
