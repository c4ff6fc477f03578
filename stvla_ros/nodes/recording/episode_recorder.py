"""Node ``episode_recorder``: records a video of the robot's and the policy's view, a line for each episode, and the
run's summary.

It ends by itself after the last episode, and with it the whole graph.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stvla_ros.atomic_files import make_folder, why_not_written, write_json
from stvla_ros.errors import InputError
from stvla_ros.msg import EpisodeState
from stvla_ros.nodes.kit.base import DIAGNOSTICS_PERIOD_S, RELIABLE_QOS, STATE_QOS, StvlaNode, run
from stvla_ros.nodes.kit.joins import Join
from stvla_ros.nodes.kit.messages import image_to_depth, image_to_rgb, stamp_ns
from stvla_ros.nodes.kit.parameters import declare_join_window
from stvla_ros.nodes.recording.shown_arm import ShownArm
from stvla_ros.perception.coloured_depth import WideningRange
from stvla_ros.perception.overlay import DrawnOver
from stvla_ros.perception.side_by_side import Caption, side_by_side
from stvla_ros.policy.registry import DEFAULT_POLICY
from stvla_ros.policy.training_record import AUTO
from stvla_ros.recordings.run_page import SUMMARY, VIDEO, write_run_page
from stvla_ros.recordings.video_writer import VideoWriter

TERMINAL = (EpisodeState.SUCCEEDED, EpisodeState.FAILED)
# Enough for the states of all frames that wait for their pictures.
STATES_KEPT = 256
# Number of pictures and thoughts that may wait for each other: a policy thinks for at most a second about a camera's 30
# Hz.
THOUGHTS_KEPT = 32
LAST_FRAME_SHOWN_S = 1.0
NICENESS = 5


class EpisodeRecorderNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("episode_recorder")
        self._output = Path(self.parameter("output", "out/sim/manual", "folder for summary.json and video.mp4"))
        self._fps = self.parameter("fps", 10.0, "pictures a second of the video", low=1.0, high=120.0)
        self._video = self.parameter("video", True, "write a video")
        self._shows_depth = self.parameter("show_depth", True, "a pane of the video with the traces on the depth")
        self._run_facts = {
            "policy": self.parameter("policy", DEFAULT_POLICY, "for the summary"),
            "checkpoint": self.parameter("checkpoint", "", "for the summary"),
            "traces": self.parameter("traces", AUTO, "for the summary"),
            "execution": self.parameter("execution", AUTO, "for the summary"),
            "pacing": self.parameter("pacing", "realtime", "for the summary"),
            "fused": self.parameter("fused", False, "for the summary"),
        }
        self._of_episodes = self.parameter(
            "of_episodes", False, "take pictures only under the stamps that episode_state names: there is a simulator"
        )
        self._join_window = declare_join_window(self)
        self._arm = ShownArm(self)
        self._task = ""
        self._episodes: list[dict[str, Any]] = []
        self._stages: dict[str, dict[str, Any]] = {}
        self._states: dict[int, EpisodeState] = {}
        # One range of colours for an episode, so that they do not flicker.
        self._depth_range, self._depth_range_of = WideningRange(), -1
        # The newest frame waits for the next one: by then, the policy's thoughts about it are there.
        self._held: tuple[Image, Image, Image] | None = None
        # By stamp: the pictures with their episode's index, and the policy's drawings over them.
        self._pictures: dict[int, tuple[int, np.ndarray]] = {}
        self._thoughts: dict[int, Image] = {}
        # The episode's index, and the policy's latest thoughts in it.
        self._thought: tuple[int, DrawnOver] | None = None
        self._writer: VideoWriter | None = None
        self._frames = 0
        self._finish_at: float | None = None
        self.exit_code: int | None = None

    def configure(self) -> None:
        make_folder(self._output, "parameter output")
        self._writer = VideoWriter(self._output / VIDEO, fps=self._fps) if self._video else None
        self._recorded = self.create_publisher(Header, "recorded", RELIABLE_QOS)
        self._worker = self.start_worker("recorder", self._take_frame, 64)
        self.every(0.1, self._finish_when_due)

    def activate(self) -> None:
        if self._video:
            topics = [(Image, name, RELIABLE_QOS) for name in ("image", "traced_depth", "overlay")]
            Join(self, topics, lambda *messages: self._worker.submit(messages), self._join_window)
            # Through the same queue, so that their order is kept.
            self.subscribe(Image, "thoughts", lambda message: self._worker.submit(message), watched=False)
            self._arm.subscribe()
        self.subscribe(EpisodeState, "episode_state", self._on_state, STATE_QOS)
        self.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, several=True)

    def cleanup(self) -> None:
        if self._writer is not None:
            self._write_held()
            writer, self._writer = self._writer, None
            self._frames = writer.frames
            try:
                writer.close()
            except InputError as error:
                self.fail(str(error))
            # Once more: the page shows the video, which is whole only now.
            self._write_summary()

    def fail(self, message: str) -> None:
        """End the process: nothing more can be recorded."""
        if not self.exit_code:
            self.reject("output", f"{message}; what was written before is kept")
        self.exit_code = 1

    # --- episodes -------------------------------------------------------------------------------------------------

    def _on_state(self, state: EpisodeState) -> None:
        if self.run.is_foreign(state.run, "topic episode_state"):
            return
        self._states[stamp_ns(state.header)] = state
        while len(self._states) > STATES_KEPT:
            del self._states[next(iter(self._states))]
        self._task = state.task
        if state.phase in TERMINAL:
            success = state.phase == EpisodeState.SUCCEEDED
            self._episodes.append(
                {
                    "episode_id": state.episode_id,
                    "instruction": state.instruction,
                    "success": success,
                    "steps": state.step,
                    "reason": state.reason,
                }
            )
            word = "success" if success else "failure"
            total = f"/{state.total}" if state.total else ""
            print(
                f"episode {state.index + 1}{total} ({state.task} {state.episode_id}): {word} after {state.step} steps"
                f" - {state.instruction}",
                flush=True,
            )
            self._write_summary()
        elif state.phase == EpisodeState.FINISHED:
            # One more round of diagnostics, so that the counters include the last frames.
            self._finish_at = time.monotonic() + 1.5 * DIAGNOSTICS_PERIOD_S

    def _take_frame(self, messages: tuple[Image, Image, Image] | Image) -> None:
        """Take the pictures of one frame, or the policy's thoughts about one."""
        if isinstance(messages, Image):
            self._thoughts[stamp_ns(messages.header)] = messages
            _keep_newest(self._thoughts)
            return
        self._write_held()
        self._held = messages
        self._recorded.publish(Header(stamp=messages[0].header.stamp, frame_id=messages[0].header.frame_id))
        state = self._states.get(stamp_ns(messages[0].header))
        if state is not None and state.phase in TERMINAL:
            self._write_held()  # the last frame gets no thoughts

    def _write_held(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self.exit_code:
            self._write_frame(held)

    def _with_thoughts(self, stamp: int, rgb: np.ndarray, overlay: np.ndarray, episode: int) -> np.ndarray:
        """The overlay with the policy's latest thoughts in this episode; those about exactly this frame, if they are
        there.
        """
        self._pictures[stamp] = (episode, rgb)
        _keep_newest(self._pictures)
        for told in [each for each in self._thoughts if each in self._pictures]:
            of_episode, clean = self._pictures[told]
            try:
                drawn = image_to_rgb(self._thoughts.pop(told), "thoughts")
                self._thought = (of_episode, DrawnOver(clean, drawn))
            except InputError as error:
                self.reject("thoughts", f"topic thoughts: {error}")
        if self._thought is None or self._thought[0] != episode:
            return overlay
        return self._thought[1].over(overlay)

    def _write_frame(self, messages: tuple[Image, Image, Image]) -> None:
        started = time.monotonic()
        image, traced_depth, overlay = messages
        stamp = stamp_ns(image.header)
        state = self._states.get(stamp)
        if state is None and self._of_episodes:
            self.reject("frame", f"topic {self.resolve_topic_name('image')}: a picture is of no episode of this run")
            return
        ended = state is not None and state.phase in TERMINAL
        caption = Caption(
            instruction=state.instruction if state else "",
            detail=f"{state.task}  episode {state.episode_id}" if state else "",
            step=state.step if state else None,
            outcome=("success" if state.phase == EpisodeState.SUCCEEDED else "failure") if ended else "",
        )
        try:
            depth = image_to_depth(traced_depth, "traced_depth")
            if state is not None and state.index != self._depth_range_of:
                self._depth_range_of = state.index
                self._depth_range.reset()
            rgb = image_to_rgb(image, "image")
            episode = state.index if state is not None else -1
            shown = self._with_thoughts(stamp, rgb, image_to_rgb(overlay, "overlay"), episode)
            frame = side_by_side(
                rgb,
                depth if self._shows_depth else None,
                shown,
                caption,
                near_far=self._depth_range.update(depth),
                further=self._arm.pictures(),
            )
        except InputError as error:
            self.reject("frame", str(error))
            return
        try:
            for _ in range(round(LAST_FRAME_SHOWN_S * self._fps) if ended else 1):
                self._writer.write(frame)
        except InputError as error:
            self.fail(str(error))
            return
        self.stage.published(self.latency_s(stamp), time.monotonic() - started)

    # --- summary --------------------------------------------------------------------------------------------------

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # Everybody's topic: of other runs, and of what is in other namespaces, nothing is told here.
        inside = f"{self.get_namespace().rstrip('/')}/"
        for status in message.status:
            if status.name.startswith(inside) and not self.run.is_foreign(status.hardware_id, "topic /diagnostics"):
                figures = {item.key: _number(item.value) for item in status.values}
                self._stages[status.name.removeprefix(inside)] = figures

    def _finish_when_due(self) -> None:
        if self._finish_at is not None and time.monotonic() > self._finish_at and self._worker.is_idle():
            self._write_summary()
            self.exit_code = self.exit_code or 0

    def _write_summary(self) -> None:
        successes = sum(episode["success"] for episode in self._episodes)
        summary = {
            "task": self._task,
            **self._run_facts,
            "episodes": self._episodes,
            "success_rate": successes / len(self._episodes) if self._episodes else 0.0,
            "frames": self._writer.frames if self._writer is not None else self._frames,
            "stages": {
                name: {
                    "p50_ms": values.get("latency_p50_ms"),
                    "p99_ms": values.get("latency_p99_ms"),
                    "drops": values.get("dropped", 0),
                    **values,
                }
                for name, values in sorted(self._stages.items())
            },
        }
        try:
            write_json(self._output / SUMMARY, summary)
            write_run_page(self._output, summary)
        except OSError as error:
            self.fail(f"{self._output / SUMMARY}: cannot be written ({why_not_written(error, self._output)})")


def _keep_newest(by_stamp: dict[int, Any]) -> None:
    while len(by_stamp) > THOUGHTS_KEPT:
        del by_stamp[next(iter(by_stamp))]


def _number(text: str) -> float | str:
    """A figure from the diagnostics as a number; the text if it is no number, or none that JSON can hold."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else text


def main() -> None:
    # Drawing and compressing must not take processor time from the robot's driver; the queue is long enough.
    os.nice(NICENESS)
    run(EpisodeRecorderNode)


if __name__ == "__main__":
    main()
