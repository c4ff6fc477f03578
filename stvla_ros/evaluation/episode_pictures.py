"""Pictures of an episode for people: a video, and the last picture."""

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from typing_extensions import Self

from stvla_ros.perception.coloured_depth import WideningRange
from stvla_ros.perception.overlay import DrawnOver, draw_traces
from stvla_ros.perception.side_by_side import Caption, side_by_side
from stvla_ros.policy.drawn_thoughts import draw_thoughts
from stvla_ros.policy.observer import Seen
from stvla_ros.recordings.video_writer import VideoWriter
from stvla_ros.sim.environment import Observation

LAST_FRAME_SHOWN_S = 1.0
# Twice as fast as it happened, like the live graph's videos.
SPEED = 2.0
VIDEO_HEIGHT = 240
THUMBNAIL_WIDTH = 240


class EpisodePictures:
    """Use as a context manager, and give its ``watch`` to the episode.

    With traces the video shows camera, traced depth and traces side by side, else the camera alone. The policy's
    thoughts are drawn over the last of these.

    :param stem: path without its ending; ``.mp4`` and ``.jpg`` are written.
    :param title: title, e.g. task and episode.
    :param control_hz: control steps a second.
    :param video: whether the video is written.
    """

    def __init__(self, stem: Path, title: str, control_hz: float, video: bool = True) -> None:
        self._stem, self._title = stem, title
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._fps = SPEED * control_hz
        self._video = VideoWriter(stem.with_suffix(".mp4"), self._fps, crf=26) if video else None
        self._range = WideningRange()

    def watch(self, observation: Observation, seen: Seen, step: int, outcome: str) -> None:
        """Take one observation, see ``rollout.Watch``."""
        if self._video is not None:
            frame = self._frame(observation, seen, step, outcome)
            for _ in range(round(LAST_FRAME_SHOWN_S * self._fps) if outcome else 1):
                self._video.write(frame)
        if outcome:
            height, width = observation.rgb.shape[:2]
            size = (THUMBNAIL_WIDTH, max(1, round(THUMBNAIL_WIDTH * height / width)))
            small = cv2.resize(observation.rgb, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(self._stem.with_suffix(".jpg")), small[..., ::-1])

    def _frame(self, observation: Observation, seen: Seen, step: int, outcome: str) -> np.ndarray:
        rgb = observation.rgb
        thought = DrawnOver(rgb, draw_thoughts(rgb, seen.thoughts))
        if seen.traced_depth is None or seen.traces is None:
            height = VIDEO_HEIGHT
            return cv2.resize(
                thought.over(rgb),
                (2 * round(rgb.shape[1] * height / rgb.shape[0] / 2), height),
                None,
                0,
                0,
                cv2.INTER_AREA,
            )
        caption = Caption(seen.given.instruction, self._title, step, outcome)
        depth = seen.traced_depth
        overlay = thought.over(draw_traces(rgb, seen.traces))
        return side_by_side(rgb, depth, overlay, caption, VIDEO_HEIGHT, self._range.update(depth))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.close()
