"""Do gripper and object carry a trace if there are at most three: any three, or one of each rigid body?

``python -m bench.traced_bodies [task ...]``. Episodes of the scripted expert. After the warm-up, a frame counts for
each body that it shows and that moved by more than 5 mm in the last second. The body carries a trace when a trace's
newest point lies on it, or within 2 px of it.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from bench.tracker_episodes import RecordedEpisode, body_kind, record_episode
from stvla_ros.perception.moving_points import ONE_A_BODY, SelectionParameters
from stvla_ros.perception.tracking import TraceTracker, TrackingConfig

TASKS = ("stack_cube", "carrot_on_plate", "spoon_on_towel", "eggplant_in_basket")
EPISODES = 3
SELECTIONS = {
    "eight": SelectionParameters(),
    "any three": SelectionParameters(max_traces=ONE_A_BODY.max_traces),
    "one a body, three at most": ONE_A_BODY,
}
_KINDS = ("gripper", "object")
_SECOND = 5  # frames
_MOVED_M = 0.005
_MARGIN = 2  # px


def moved_mask(episode: RecordedEpisode, frame: int, kind: str) -> np.ndarray:
    """(H, W) bool, where the frame shows bodies of that kind that moved in the last second, and just around them."""
    before, now = episode.poses[max(0, frame - _SECOND)], episode.poses[frame]
    moved = [
        body
        for body in before.keys() & now.keys()
        if body_kind(episode.names[body]) == kind and np.linalg.norm(now[body][:3, 3] - before[body][:3, 3]) > _MOVED_M
    ]
    shown = np.isin(episode.segmentations[frame], moved).astype(np.uint8)
    return cv2.dilate(shown, np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)) > 0


def count(episode: RecordedEpisode, selection: SelectionParameters) -> Counter[str]:
    """Number of frames that count, by kind, and of those with a trace, by ``kind traced``."""
    config = TrackingConfig(selection=selection)
    tracker, counts = TraceTracker(config), Counter[str]()
    for frame, seen in enumerate(episode.observations):
        traces = tracker.step(seen.rgb, frame)
        if frame < config.warm_up_frames:
            continue
        x, y = np.rint(traces.points[-1]).astype(int).T
        for kind in _KINDS:
            if (mask := moved_mask(episode, frame, kind)).any():
                counts[kind] += 1
                counts[f"{kind} traced"] += bool(mask[y, x].any())
    return counts


def rows(tasks: Sequence[str] = TASKS) -> list[dict[str, Any]]:
    """One row for each task and selection."""
    result: list[dict[str, Any]] = []
    for task in tasks:
        episodes = [record_episode(task, number) for number in range(EPISODES)]
        for name, selection in SELECTIONS.items():
            counts = sum((count(episode, selection) for episode in episodes), Counter())
            shares = {f"{kind}_share": counts[f"{kind} traced"] / max(1, counts[kind]) for kind in _KINDS}
            result.append({"task": task, "traces": name, **{f"{k}_frames": counts[k] for k in _KINDS}, **shares})
    return result


def main() -> None:
    for row in rows(sys.argv[1:] or TASKS):
        shares = [f"{kind} {100 * row[f'{kind}_share']:.0f} % of {row[f'{kind}_frames']}" for kind in _KINDS]
        print(f"{row['task']:20}{row['traces']:28}{', '.join(shares)}")


if __name__ == "__main__":
    main()
