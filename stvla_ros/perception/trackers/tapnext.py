"""TAPNext (Zholus et al. 2025, arXiv 2504.05579), a learned tracker that may be used commercially, through its authors'
own network. Code and weights are Apache-2.0; the user installs them.

The network is recurrent: it sees each frame once and keeps a state for every patch and every point, so that a frame
costs the same however long the episode is. It takes points in its first frame alone. Points that come later (gaps in
the grid, a query) therefore begin a new run of the network, in the frame that they belong to and with all others at
their places there.
"""

from typing import Any

import cv2
import numpy as np
import torch

from stvla_ros.devices import memory_for, parse_device, wait_for_device
from stvla_ros.errors import DeviceLost, InputError, reason_of
from stvla_ros.perception.frame_buffer import FrameBuffer
from stvla_ros.perception.trackers.base import Tracker
from stvla_ros.perception.trackers.grid import free_grid_points
from stvla_ros.perception.trackers.tapnext_parameters import TapNextParameters
from stvla_ros.perception.types import Traces

# Places go in and come out in pixels of a picture of this size, whatever size the network sees. Pixels' edges are at
# whole numbers there, their centres at whole numbers here.
_SCALE = 256.0
# Before the names of the weights in a file of its training framework.
_PREFIX = "tapnext."


def load_tapnext(parameters: TapNextParameters, device: torch.device) -> Any:
    """The authors' network with weights, on the device.

    :raises InputError: when the package or the weights are missing (the message says how to get them), or memory runs
        out.
    """
    try:
        from tapnet.tapnext.tapnext_torch import TAPNext
        from tapnet.tapnext.tapnext_torch_utils import restore_model_from_jax_checkpoint
    except ImportError as error:
        raise parameters.not_installed(reason_of(error)) from error
    parameters.check_weights()
    file = parameters.checkpoint
    try:
        with memory_for(f"tapnext on {device}"):
            model = TAPNext(image_size=(int(_SCALE), int(_SCALE)))
            if file.endswith(".npz"):
                model = restore_model_from_jax_checkpoint(model, file)
            else:
                content = torch.load(file, map_location="cpu", weights_only=True)
                weights = content.get("state_dict", content)
                model.load_state_dict({name.removeprefix(_PREFIX): value for name, value in weights.items()})
            return model.to(device).eval()
    except (InputError, DeviceLost):
        raise
    except Exception as error:  # torch and numpy raise a different type for each way in which a file can be wrong
        raise InputError(f"tapnext checkpoint: {file} holds no weights of TAPNext: {reason_of(error)}") from error


class TapNext(Tracker):
    """The tracker that the module's docstring describes."""

    Parameters = TapNextParameters

    def __init__(self, buffer: FrameBuffer, parameters: TapNextParameters) -> None:
        super().__init__(buffer, parameters)
        self._device = parse_device(parameters.device, "tapnext device")
        self._network = load_tapnext(parameters, self._device)
        # A CPU has nothing to prepare and would take seconds; a GPU that is too small fails here.
        if self._device.type != "cpu":
            with memory_for(f"warm-up of tapnext on {self._device}"):
                side, points = parameters.picture_size, 2 * parameters.grid_size**2
                picture = torch.zeros(1, 1, side, side, 3, device=self._device)
                *_, state = self._run(picture, torch.zeros(1, points, 3, device=self._device), None)
                self._run(picture, None, state)
        self._forget()

    def _forget(self) -> None:
        self._state: Any = None  # the network's; None before its next run has begun
        self._newest: torch.Tensor | None = None  # the frame in which that run begins
        self._ids = np.zeros(0, np.uint32)
        self._points = np.zeros((0, 2), np.float32)  # in the newest frame, pixels of the camera's picture
        self._visible = np.zeros(0, bool)
        self._asked = np.zeros(0, bool)

    def _query(self, ids: np.ndarray, points: np.ndarray) -> None:
        self._add(ids, points, asked=True)

    def _add(self, ids: np.ndarray, points: np.ndarray, asked: bool) -> None:
        self._ids = np.concatenate([self._ids, ids])
        self._points = np.concatenate([self._points, points.astype(np.float32)])
        self._visible = np.concatenate([self._visible, np.ones(len(ids), bool)])
        self._asked = np.concatenate([self._asked, np.full(len(ids), asked)])
        self._state = None

    def _track(self, rgb: np.ndarray, stamp_ns: int) -> Traces:
        size = (rgb.shape[1], rgb.shape[0])
        with memory_for(f"tapnext on {self._device}"):
            picture = self._picture(rgb)
            if len(self._ids):
                self._follow(picture, size)
        if self.buffer.frames_seen % self.parameters.reseed_every == 0:
            self._reseed(size)
        self._newest = picture
        self.buffer.append(stamp_ns, self._ids, self._points, self._visible, size)
        return self.buffer.traces()

    def _picture(self, rgb: np.ndarray) -> torch.Tensor:
        """(1, 1, S, S, 3) float32 from -1 to 1, on the network's device."""
        side = self.parameters.picture_size
        small = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(small).to(self._device).float().div_(127.5).sub_(1.0)[None, None]

    def _follow(self, picture: torch.Tensor, size: tuple[int, int]) -> None:
        if self._state is None:
            queries = np.zeros((1, len(self._ids), 3), np.float32)  # frame, y, x
            queries[0, :, 1:] = ((self._points + 0.5) * (_SCALE / np.array(size)))[:, ::-1]
            *_, state = self._run(self._newest, torch.from_numpy(queries).to(self._device), None)
        else:
            state = self._state
        self._state = None  # also when memory runs out here
        places, _, seen, state = self._run(picture, None, state)
        wait_for_device(self._device)
        found = places[0, 0].float().cpu().numpy()[:, ::-1] * (np.array(size) / _SCALE) - 0.5
        inside = ((found >= 0) & (found <= np.array(size) - 1.0)).all(axis=1)
        # Wrong weights, or half precision that overflows, give places that are no numbers: such a point stays, unseen.
        there = np.isfinite(found).all(axis=1, keepdims=True)
        self._points = np.where(there, found, self._points).astype(np.float32)
        self._visible = (seen[0, 0, :, 0] > 0).cpu().numpy() & inside
        self._state = state

    def _run(self, picture: torch.Tensor, queries: torch.Tensor | None, state: Any) -> tuple[Any, ...]:
        """Places (1, 1, N, 2) y and x, their scores, scores of being seen (1, 1, N, 1), and the state."""
        # On a GPU in half precision, as its authors run it.
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self._device.type == "cuda"):
            return self._network(video=picture, query_points=queries, state=state)

    def _reseed(self, size: tuple[int, int]) -> None:
        keep = self._visible | self._asked
        new = free_grid_points(self.parameters.grid_size, size, self._points[keep], int((keep & ~self._asked).sum()))
        if len(new):
            # What goes on in the same run must stay in its order; a new run takes the others' places.
            for name in ("_ids", "_points", "_visible", "_asked"):
                setattr(self, name, getattr(self, name)[keep])
            self._add(self._new_ids(len(new)), new, asked=False)
