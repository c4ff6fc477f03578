"""The accuracy of the trackers, compared with exact tracks from the simulator's state.

``python -m bench.tracker_accuracy [task ...]``. In episodes of the scripted expert, points are drawn uniformly on the
gripper, the objects and the background at every sixth frame, handed to the tracker and followed frame by frame to the
end, up to 30 frames. Only the tracker's output at each frame counts, not later corrections. No point is chosen for
being easy to follow. Metrics are TAP-Vid's (``bench/tap_vid.py``). One task is shown in a large picture too, which
Lucas-Kanade tracks in at half its size. ms/frame is processor time on one core with the tracker's own 100 points.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from bench.point_tracks import PointTrackRecorder
from bench.tap_vid import tap_vid_scores
from bench.tracker_episodes import TASKS, RecordedEpisode, body_kind, record_episode
from stvla_ros.errors import InputError
from stvla_ros.perception.trackers import Tracker, make_tracker

KINDS = ("gripper", "object", "background")
EVERY = 6  # frames between two draws of points
LENGTH = 30  # frames for which points are followed
PER_KIND = 15
TRACKERS = ("lucas_kanade", "kinematic", "cotracker")
# Size of a picture that Lucas-Kanade tracks at half its size.
LARGE_TASK, LARGE = "stack_cube", (1440, 1080)
Tracks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw_points(episode: RecordedEpisode, frame: int) -> np.ndarray:
    """(N, 2) pixels, up to ``PER_KIND`` of each kind and at least 2 px inside its outline."""
    chance = np.random.default_rng(frame)
    drawn = []
    for kind in KINDS:
        inside = cv2.erode(episode.kind_mask(frame, kind).astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=0)
        places = np.argwhere(inside)[:, ::-1]
        drawn.append(places[chance.permutation(len(places))[:PER_KIND]])
    return np.concatenate(drawn).astype(np.float64)


def milliseconds_per_frame(episode: RecordedEpisode, tracker: Tracker) -> float:
    """Median processor time of the thread, with the tracker's own points only."""
    cost = []
    for frame in range(len(episode)):
        given = episode.frame(frame)
        began = time.thread_time()
        tracker.update(*given)
        cost.append((time.thread_time() - began) * 1e3)
    return float(np.median(cost))


def follow(episode: RecordedEpisode, tracker: Tracker, start: int) -> dict[str, Tracks]:
    """Follow points drawn in one frame.

    :return: for each kind (true points, true visibility, points, visibility), (T, N, 2) and (T, N).
    """
    for frame in range(max(0, start - 1), start + 1):  # one frame before, so that the tracker is under way
        tracker.update(*episode.frame(frame))
    first = episode.show(start)
    exact = PointTrackRecorder(episode)
    exact.start(draw_points(episode, start), first)
    kinds = np.asarray([body_kind(name) for name in exact.body_names])
    points, visible = exact.observe(first)
    ids = tracker.query(points)
    tracks = [(points, visible, points, np.ones(len(points), bool))]
    for frame in range(start + 1, min(len(episode), start + LENGTH)):
        seen = episode.show(frame)
        traces = tracker.update(*episode.frame(frame))
        place = {identity: column for column, identity in enumerate(traces.ids.tolist())}
        columns = [place[identity] for identity in ids.tolist()]
        tracks.append((*exact.observe(seen), traces.points[-1, columns], traces.visible[-1, columns]))
    stacked = [np.stack(part) for part in zip(*tracks)]
    found = {}
    for kind in KINDS:
        if (own := kinds == kind).any():
            true_points, true_visible, points, visible = (part[:, own] for part in stacked)
            found[kind] = (true_points, true_visible, points, visible)
    return found


def episode_rows(episode: RecordedEpisode, name: str, make: Callable[[], Tracker]) -> list[dict[str, Any]]:
    """One row for each kind of point."""
    scores: dict[str, list] = {kind: [] for kind in KINDS}
    height, width = episode.observations[0].rgb.shape[:2]
    cost = milliseconds_per_frame(episode, make())
    for start in range(0, len(episode) - 4, EVERY):
        for kind, track in follow(episode, make(), start).items():
            queries = np.zeros(track[1].shape[1], int)
            scores[kind].append(tap_vid_scores(*track, queries, (width, height)))
    return [
        {
            "task": episode.task,
            "picture": f"{width}x{height}",
            "tracker": name,
            "points": kind,
            "delta_avg": _mean([s.delta_avg for s in some], [s.seen for s in some]),
            "occlusion_accuracy": _mean([s.occlusion_accuracy for s in some], [s.pairs for s in some]),
            "average_jaccard": _mean([s.average_jaccard for s in some], [s.seen for s in some]),
            "seen": sum(s.seen for s in some),
            "ms_per_frame": cost,
        }
        for kind, some in scores.items()
        if some
    ]


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    known = [(value, weight) for value, weight in zip(values, weights) if weight and np.isfinite(value)]
    return sum(value * weight for value, weight in known) / max(1, sum(weight for _, weight in known))


def rows(tasks: Sequence[str] = TASKS, trackers: Sequence[str] = TRACKERS) -> list[dict[str, Any]]:
    """One row for each task, tracker and kind of point; a row with the key ``missing`` for a tracker that cannot
    run.
    """
    cv2.setNumThreads(1)  # so that the thread's processor time is all of it
    result: list[dict[str, Any]] = []
    usable = []
    for name in trackers:
        try:
            make_tracker(name)
            usable.append(name)
        except InputError as error:
            result.append({"tracker": name, "missing": str(error)})
    for task in tasks:
        episode = record_episode(task)
        for name in usable:
            result += episode_rows(episode, name, lambda: make_tracker(name))
    if LARGE_TASK in tasks and "lucas_kanade" in usable:
        episode = record_episode(LARGE_TASK, image_size=LARGE)
        result += episode_rows(episode, "lucas_kanade", lambda: make_tracker("lucas_kanade"))
    return result


def main() -> None:
    print(
        f"{'task':22}{'picture':11}{'tracker':14}{'points':12}{'delta_avg':>10}{'OA':>8}{'AJ':>8}{'seen':>8}{'ms/frame':>10}"
    )
    for row in rows(sys.argv[1:] or TASKS):
        if "missing" in row:
            print(f"{'':33}{row['tracker']:14}not installed: {row['missing']}")
            continue
        columns = (("delta_avg", 10), ("occlusion_accuracy", 8), ("average_jaccard", 8))
        scores = "".join(f"{100 * row[key]:{width}.1f}" for key, width in columns)
        cost = f"{row['seen']:>8}{row['ms_per_frame']:>10.1f}"
        print(f"{row['task']:22}{row['picture']:11}{row['tracker']:14}{row['points']:12}{scores}{cost}")


if __name__ == "__main__":
    main()
