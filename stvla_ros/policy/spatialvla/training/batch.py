"""Prepared frames as the tensors of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.perception.trace_cells import CELL_NUMBERS, trace_cells, trace_vertices
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.kept_frames import DEPTHS, INTRINSICS, as_pixels, frame_arrays, keep_picture, seen_frames
from stvla_ros.policy.pictures import prepare_depth, scale_intrinsics
from stvla_ros.policy.samples import Augmentation, Preparation, Samples
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer

TRACES = "traces"


@dataclass(frozen=True)
class SpatialVlaPreparation(Preparation):
    """Keeps pictures (uint8) and depth maps (float16, half a millimetre of rounding at a metre) of the model's size S.

    :param size: side S of the pictures, pixels.
    :param resize: method of resizing pictures to it.
    :param default_camera: fx, skew, cx, … (9 numbers, by rows), used for data without intrinsics.
    :param default_size: (width, height) of the pictures that ``default_camera`` refers to.
    """

    size: int
    resize: str
    default_camera: tuple[float, ...]
    default_size: tuple[int, int]

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], type]]:
        return frame_arrays(self.size)

    def __call__(self, observation: PolicyInput) -> Mapping[str, np.ndarray]:
        seen = observation.picture
        height, width = seen.rgb.shape[:2]
        given, size = seen.intrinsics, (width, height)
        if given is None:
            given, size = np.array(self.default_camera).reshape(3, 3), self.default_size
        return {
            **keep_picture(seen.rgb, self.size, self.resize),
            DEPTHS: prepare_depth(seen.depth, (width, height), self.size).astype(np.float16),
            INTRINSICS: scale_intrinsics(given, size, self.size),
        }


@dataclass(frozen=True)
class WithTraces(SpatialVlaPreparation):
    """Also keeps the traces as vertices (``perception/trace_cells.py``). Augmentation moves the vertices, so cells
    computed from them are exact.

    :param frames: length b of the trace window, frames. Missing frames (the oldest) and missing traces are NaN.
    :param most: largest number of traces at a time.
    """

    frames: int
    most: int

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], type]]:
        return {**super().arrays(), TRACES: ((self.frames, self.most, 4), np.float32)}

    def __call__(self, observation: PolicyInput) -> Mapping[str, np.ndarray]:
        kept = np.full((self.frames, self.most, 4), np.nan, np.float32)
        if (given := observation.picture.traces) is not None:
            vertices = trace_vertices(given, self.size)
            kept[self.frames - len(vertices) :, : vertices.shape[1]] = vertices
        return {**super().__call__(observation), TRACES: kept}


@dataclass(frozen=True)
class SpatialVlaBatch:
    """B samples, T actions a chunk; see forward.py, token_loss.py and scene_loss.py for the fields. A network that sees
    an earlier picture gets 2 B pixels, depths and intrinsics: the newest ones first, then the earlier ones.

    :param inputs: (B, T, 3) int64 tokens that are the decoder's inputs, see ``SpatialVlaOptions.decoder_inputs``.
    :param cells: (B, C, C, 5) float32, see ``perception/trace_cells.py``; C is 0 without traces beside the depth.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    intrinsics: torch.Tensor
    ids: torch.Tensor
    lengths: torch.Tensor
    inputs: torch.Tensor
    offsets: torch.Tensor
    normalized: torch.Tensor
    valid: torch.Tensor
    scene_points: torch.Tensor
    cells: torch.Tensor

    def to(self, device: torch.device) -> "SpatialVlaBatch":
        """For CUDA, the tensors are copied from pinned memory, while other work is computed."""
        if device.type == "cuda":
            pinned = {name: value.pin_memory() for name, value in vars(self).items()}
            return SpatialVlaBatch(**{name: value.to(device, non_blocking=True) for name, value in pinned.items()})
        return SpatialVlaBatch(**{name: value.to(device) for name, value in vars(self).items()})


class BatchMaker:
    """
    :param samples: prepared frames.
    :param prompt_tokenizer: tokenizer of the checkpoint.
    :param action_tokenizer: tokenizer with the bins to be trained.
    :param statistics: statistics of the training set.
    :param cells: number of trace cells along a side of the picture; 0 for no cells.
    :param executed_inputs: whether the decoder's inputs are the executed actions instead of the labels.
    :param earlier_s: age of the earlier picture in seconds; 0 for none.
    """

    def __init__(
        self,
        samples: Samples,
        prompt_tokenizer: PromptTokenizer,
        action_tokenizer: ActionTokenizer,
        statistics: ActionStatistics,
        cells: int = 0,
        executed_inputs: bool = True,
        earlier_s: float = 0.0,
    ) -> None:
        self._samples, self._cells, self._earlier_s = samples, cells, earlier_s
        self._normalized = statistics.normalize(samples.actions)
        self._offsets = action_tokenizer.encode(self._normalized)
        self._inputs = self._offsets
        if executed_inputs:
            self._inputs = action_tokenizer.encode(statistics.normalize(samples.executed))
        self._chunk = action_tokenizer.chunk_size
        prompts = {text: prompt_tokenizer.encode(text) for text in set(samples.instructions)}
        longest = max(len(ids) for ids in prompts.values())
        # Padded with the prompt's last token: no token attends to it, so any text token will do.
        self._ids = {text: np.pad(ids, (0, longest - len(ids)), mode="edge") for text, ids in prompts.items()}
        self._lengths = {text: len(ids) for text, ids in prompts.items()}

    def make(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> SpatialVlaBatch:
        """Make a batch, see ``Trainable.batch``."""
        samples = self._samples
        frames = [indices] + ([samples.before(indices, self._earlier_s)] if self._earlier_s else [])
        seen = [seen_frames(samples, each, augmentation) for each in frames]
        pictures, depths, intrinsics = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        cells = self._trace_cells(indices, intrinsics[: len(indices)], pictures.shape[1], augmentation)
        texts = samples.texts(indices)
        steps, valid = samples.chunks(indices, self._chunk)
        return SpatialVlaBatch(
            pixels=torch.from_numpy(as_pixels(pictures)),
            depth=torch.from_numpy(depths),
            intrinsics=torch.from_numpy(intrinsics),
            ids=torch.from_numpy(np.stack([self._ids[text] for text in texts])),
            lengths=torch.tensor([self._lengths[text] for text in texts]),
            inputs=torch.from_numpy(self._inputs[steps]),
            offsets=torch.from_numpy(self._offsets[steps]),
            normalized=torch.from_numpy(self._normalized[steps]).float(),
            valid=torch.from_numpy(valid),
            scene_points=torch.from_numpy(samples.scene_points[indices]),
            cells=torch.from_numpy(cells),
        )

    def _trace_cells(
        self, indices: np.ndarray, intrinsics: np.ndarray, size: int, augmentation: Augmentation | None
    ) -> np.ndarray:
        """:param intrinsics: (B, 3, 3) intrinsics of the pictures after augmentation."""
        count = self._cells
        if not count:
            return np.zeros((len(indices), 0, 0, CELL_NUMBERS), np.float32)
        traces = self._samples.prepared[TRACES][indices]
        if augmentation is not None:
            places = traces[..., :2].reshape(len(indices), -1, 2)
            traces[..., :2] = augmentation.move(places, size).reshape(traces[..., :2].shape)
        return np.stack([trace_cells(*each, size, count) for each in zip(traces, intrinsics, strict=True)])
