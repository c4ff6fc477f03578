"""CoTracker3 (Karaev et al. 2024, arXiv 2410.11831), the paper's tracker, through its authors' own predictors.

Their code and weights are under CC-BY-NC-4.0: no commercial use. So this package contains none of it; the user installs
it.

* ``offline``: the whole buffer is tracked anew for each frame. The most accurate, but each frame costs as much as a
  video of b frames.
* ``online``: the network runs once every 8 frames on the last 16. Until 16 frames are there, and in the up to 7 frames
  between two runs, points stay at their last known places; then the frames in the buffer are corrected. The predictor
  keeps its answers for every frame of its video. To bound this memory, a new video begins every ``session_frames``
  frames, at the points' last places.

Points start on a grid. Once in every buffer's length of frames (``online``: with every new video), hidden points are
given up and the gaps in the grid are filled.
"""

from typing import Any

import numpy as np
import torch

from stvla_ros.devices import memory_for, parse_device, wait_for_device
from stvla_ros.errors import DeviceLost, InputError, reason_of
from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.trackers.base import Tracker
from stvla_ros.perception.trackers.cotracker_parameters import (
    LICENCE,
    OFFLINE_WINDOW,
    ONLINE_WINDOW,
    REPOSITORY,
    CoTrackerParameters,
)
from stvla_ros.perception.trackers.grid import free_grid_points
from stvla_ros.perception.types import Traces

WARM_UP_SIZE = (480, 640)  # pixels; the network's own input is always 384 x 512


def load_cotracker(parameters: CoTrackerParameters, device: torch.device) -> Any:
    """The authors' predictor with weights, on the device.

    :raises InputError: when the package or the weights are missing (the message says how to get them, and their
        licence), or memory runs out.
    """
    p = parameters
    memory = f"cotracker {p.mode} on {device}"
    if p.hub:
        try:
            with memory_for(memory):
                return torch.hub.load(REPOSITORY, f"cotracker3_{p.mode}", trust_repo=True).to(device)
        except (InputError, DeviceLost):
            raise
        except Exception as error:  # torch.hub lets through whatever the network, the archive or the repository raises
            raise InputError(
                f"cotracker: torch.hub cannot load {REPOSITORY} ({LICENCE}): {reason_of(error)}"
            ) from error
    try:
        from cotracker.predictor import CoTrackerOnlinePredictor, CoTrackerPredictor
    except ImportError as error:
        raise p.not_installed(reason_of(error)) from error
    p.check_weights()
    try:
        with memory_for(memory):
            if p.mode == "offline":
                return CoTrackerPredictor(checkpoint=p.checkpoint, offline=True, window_len=OFFLINE_WINDOW).to(device)
            return CoTrackerOnlinePredictor(checkpoint=p.checkpoint, window_len=ONLINE_WINDOW).to(device)
    except (InputError, DeviceLost):
        raise
    except Exception as error:  # torch raises a different type for each way in which a file can be wrong
        raise InputError(
            f"cotracker checkpoint: {p.checkpoint} holds no weights of CoTracker3 {p.mode}: {reason_of(error)}"
        ) from error


class CoTracker(Tracker):
    """The tracker that the module's docstring describes."""

    Parameters = CoTrackerParameters

    def __init__(self, buffer: FrameBuffer, parameters: CoTrackerParameters) -> None:
        super().__init__(buffer, parameters)
        self._device = parse_device(parameters.device, "cotracker device")
        self._predictor = load_cotracker(parameters, self._device)
        # A CPU has nothing to prepare and would take seconds; a GPU that is too small fails here.
        if self._device.type != "cpu":
            with memory_for(f"warm-up of cotracker on {self._device}"):
                self._warm_up()
        self._forget()

    def _warm_up(self) -> None:
        """Run on the largest number of frames and points, with pictures of a usual size."""
        p, (height, width) = self.parameters, WARM_UP_SIZE
        queries = torch.zeros(1, 2 * p.grid_size**2, 3, device=self._device)
        frames = self.buffer.size if p.mode == "offline" else ONLINE_WINDOW
        video = torch.zeros(1, frames, 3, height, width, device=self._device)
        if p.mode == "offline":
            self._predictor(video, queries=queries)
        else:
            self._predictor(video, is_first_step=True, queries=queries, add_support_grid=True)
            self._predictor(video, add_support_grid=True)

    def _forget(self) -> None:
        # The input of the network's next run by stamp: (3, H, W) uint8 on its device. Only the newest frame is copied
        # there.
        self._frames: dict[int, torch.Tensor] = {}
        self._ids = np.zeros(0, np.uint32)
        self._starts = np.zeros((0, 2), np.float32)  # the known place of each point ...
        self._start_stamps = np.zeros(0, np.int64)  # ... and the frame that it is in
        self._asked = np.zeros(0, bool)
        self._in_session = False  # whether the online predictor goes on with the video that it has begun

    def _query(self, ids: np.ndarray, points: np.ndarray) -> None:
        self._add(ids, points, int(self.buffer.stamps[-1]), asked=True)
        self._in_session = False

    def _add(self, ids: np.ndarray, points: np.ndarray, stamp_ns: int, asked: bool) -> None:
        self._ids = np.concatenate([self._ids, ids])
        self._starts = np.concatenate([self._starts, points.astype(np.float32)])
        self._start_stamps = np.concatenate([self._start_stamps, np.full(len(ids), stamp_ns, np.int64)])
        self._asked = np.concatenate([self._asked, np.full(len(ids), asked)])

    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        size = (rgb.shape[1], rgb.shape[0])
        with memory_for(f"cotracker on {self._device}"):
            self._frames[stamp_ns] = torch.from_numpy(rgb.copy()).to(self._device).permute(2, 0, 1)
        p = self.parameters
        if self.buffer.frames_seen % (self.buffer.size if p.mode == "offline" else p.session_frames) == 0:
            self._reseed(stamp_ns, size)
        points, visible = self._last_known()
        self.buffer.append(stamp_ns, self._ids, points, visible, size)
        with memory_for(f"cotracker on {self._device}"):
            if self.parameters.mode == "offline":
                self._run_offline()
            else:
                self._run_online()
        return self.buffer.traces()

    def _last_known(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and visibility in the buffer's newest frame; new points are at their start, and visible."""
        points, visible = self._starts.copy(), np.ones(len(self._ids), bool)
        if len(self.buffer):
            traces = self.buffer.traces()
            _, mine, theirs = np.intersect1d(self._ids, traces.ids, assume_unique=True, return_indices=True)
            points[mine], visible[mine] = traces.points[-1, theirs], traces.visible[-1, theirs]
        return points, visible

    def _reseed(self, stamp_ns: int, size: tuple[int, int]) -> None:
        points, visible = self._last_known()
        keep = visible | self._asked
        points = points[keep]
        for name in ("_ids", "_starts", "_start_stamps", "_asked"):
            setattr(self, name, getattr(self, name)[keep])
        new = free_grid_points(self.parameters.grid_size, size, points, int((~self._asked).sum()))
        self._add(self._new_ids(len(new)), new, stamp_ns, asked=False)
        self._in_session = False

    def _anchor(self, stamps: np.ndarray) -> np.ndarray:
        """(N, 3) float32 queries (index into ``stamps``, x, y). A point whose start is no longer among the frames
        starts at its oldest sighting there; a point without any sighting, at its newest place in the oldest frame.
        """
        traces = self.buffer.traces()
        _, rows, indices = np.intersect1d(traces.frame_stamps, stamps, assume_unique=True, return_indices=True)
        for n in np.flatnonzero(~np.isin(self._start_stamps, stamps)):
            sightings = np.flatnonzero(traces.visible[rows, n])
            row, index = (rows[sightings[0]], indices[sightings[0]]) if len(sightings) else (-1, 0)
            self._starts[n], self._start_stamps[n] = traces.points[row, n], stamps[index]
        index = np.searchsorted(stamps, self._start_stamps)
        return np.concatenate([index[:, None], self._starts], axis=1).astype(np.float32)

    def _video(self, stamps: np.ndarray) -> torch.Tensor:
        """(1, T, 3, H, W) float32, 0 to 255, on the network's device."""
        return torch.stack([self._frames[stamp] for stamp in stamps.tolist()])[None].float()

    def _take(self, stamps: np.ndarray, tracks: torch.Tensor, visible: torch.Tensor) -> None:
        """Put the network's answer for those frames into the buffer. Before its start a point is not seen."""
        wait_for_device(self._device)
        seen = visible[0].cpu().numpy() & (stamps[:, None] >= self._start_stamps[None])
        width, height = self.buffer.image_size
        points = tracks[0].cpu().numpy()
        seen &= ((points >= 0) & (points <= (width - 1, height - 1))).all(axis=2)
        self.buffer.revise(stamps, points, seen)

    def _run_offline(self) -> None:
        stamps = self.buffer.stamps
        self._frames = {stamp: self._frames[stamp] for stamp in stamps.tolist()}
        if len(stamps) < 2 or not len(self._ids):
            return
        queries = torch.from_numpy(self._anchor(stamps))[None].to(self._device)
        self._take(stamps, *self._predictor(self._video(stamps), queries=queries))

    def _run_online(self) -> None:
        while len(self._frames) > ONLINE_WINDOW:
            del self._frames[min(self._frames)]
        stride = ONLINE_WINDOW // 2
        if len(self._frames) < ONLINE_WINDOW or self.buffer.frames_seen % stride or not len(self._ids):
            return
        stamps = np.asarray(sorted(self._frames), np.int64)
        video = self._video(stamps)
        goes_on, self._in_session = self._in_session, False  # also when memory runs out here
        if not goes_on:
            queries = torch.from_numpy(self._anchor(stamps))[None].to(self._device)
            self._predictor(video, is_first_step=True, queries=queries, add_support_grid=True)
        tracks, visible = self._predictor(video, add_support_grid=True)
        self._in_session = True
        self._take(stamps, tracks[:, -ONLINE_WINDOW:], visible[:, -ONLINE_WINDOW:])
