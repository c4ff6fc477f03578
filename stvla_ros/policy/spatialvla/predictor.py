"""A loaded checkpoint that answers pictures and instructions with actions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvla_ros.devices import memory_for, wait_for_device
from stvla_ros.errors import InputError
from stvla_ros.perception.trace_cells import CELL_NUMBERS, trace_cells, trace_vertices
from stvla_ros.perception.types import TracesInDepth
from stvla_ros.policy.action_statistics import read_statistics, select_statistics
from stvla_ros.policy.base import Picture
from stvla_ros.policy.pictures import prepare_depth, prepare_picture, scale_intrinsics
from stvla_ros.policy.sampling import check_resize, check_temperature
from stvla_ros.policy.seeded_draws import SeededDraws
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.actions.consensus import Consensus, consensus_width
from stvla_ros.policy.spatialvla.checkpoint import save_model
from stvla_ros.policy.spatialvla.create import preprocessor_config
from stvla_ros.policy.spatialvla.decoding.decoder import NO_TOKEN, Accelerations, gumbel_noise
from stvla_ros.policy.spatialvla.decoding.token_predictor import TokenPredictor
from stvla_ros.policy.spatialvla.earlier_head import earlier_seconds
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG

NO_TRACE_HEAD = "traces: expected none, depth or rgb, the checkpoint was not trained with traces beside the depth"
NO_EARLIER_HEAD = "earlier: expected None, the checkpoint was not trained with an earlier picture"
DEFAULT_INTRINSICS = "default"


@dataclass(frozen=True)
class Prediction:
    """One chunk of T actions; processor_config.json gives T (published: 4).

    :param tokens: (T, 3) int64 offsets of the action tokens: translation, rotation, gripper.
    :param normalized: (T, 7) float64 in [-1, 1], the gripper 0 or 1.
    :param actions: (T, 7) float64: x y z in metres, roll pitch yaw in radians, gripper 0 (closed) or 1 (open); each
        relative to the pose before it.
    """

    tokens: np.ndarray
    normalized: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class DetailedPrediction(Prediction):
    """
    :param depth: (224, 224) float32 metres that the model used.
    :param xyz: (256, 12) float32 metres: four points a patch in the camera's optical frame.
    :param image_features: (256, E) float32, the picture's tokens as the language model's input.
    :param logits: (V,) float32 scores of the first action token over the whole vocabulary (of a lean model: over its
        action tokens).
    """

    depth: np.ndarray
    xyz: np.ndarray
    image_features: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class _Prepared:
    """A picture of the model's size S, on its device.

    :param pixels: (1, 3, S, S) float32 in [0, 1].
    :param depth: (1, S, S) float32 metres.
    :param intrinsics: (1, 3, 3) float32 in its pixels.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    intrinsics: torch.Tensor


class SpatialVlaPredictor(SeededDraws):
    """A model with its tokenizer and processor. Not thread-safe.

    :param model: the network, on its device.
    :param prompt_tokenizer: tokenizer that turns instructions into token ids.
    :param processor: content of processor_config.json: action bins, statistics, default intrinsics.
    :param accelerations: choice of the accelerations.
    :param resize: method of resizing pictures to the model's size, one of ``RESIZE_METHODS``.
    :param temperature: 0 for the best token, else tokens are sampled from the softmax at this temperature.
    :param seed: seed of the sampling.
    :raises InputError: for a value out of range, or a processor that does not fit the model.
    """

    def __init__(
        self,
        model: SpatialVla,
        prompt_tokenizer: PromptTokenizer,
        processor: Mapping[str, Any],
        accelerations: Accelerations = Accelerations(),
        resize: str = "bicubic",
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_resize(resize)
        check_temperature(temperature)
        self.model, self.prompt_tokenizer, self.processor = model, prompt_tokenizer, processor
        self.action_tokenizer = ActionTokenizer.from_config(processor)
        self.statistics = read_statistics(processor)
        self.earlier_s = earlier_seconds(processor, model.config.earlier_head)
        """Age of the earlier picture in seconds before the newest one; 0 for a network that sees no earlier picture."""
        if self.action_tokenizer.num_tokens != model.config.num_action_tokens:
            raise InputError(
                f"{PROCESSOR_CONFIG}: expected bins for the {model.config.num_action_tokens} action tokens of "
                f"config.json, got bins for {self.action_tokenizer.num_tokens}"
            )
        self._resize, self._temperature = resize, temperature
        super().__init__(seed)
        # Embeddings of the last instruction, which usually is the next one as well.
        self._embedded: tuple[str, torch.Tensor] | None = None
        self._legal_ranges = self.action_tokenizer.legal_ranges * self.action_tokenizer.chunk_size
        width = consensus_width(processor)
        consensus = Consensus(self.action_tokenizer, width, model.device) if width else None
        self._predict_tokens = TokenPredictor(model, self._legal_ranges, accelerations, consensus)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Do now everything that would make the first calls slow.

        :raises InputError: when memory runs out.
        """
        with memory_for(f"warm-up on {self.model.device}"):
            self._warm_up()

    def _warm_up(self) -> None:
        size = self.model.config.image_size
        pictures = self.model.config.num_pictures
        pixels = torch.zeros(1, 3, size, size, device=self.model.device)
        k = self._intrinsics(np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1]]), None, (size, size))
        depth = torch.ones_like(pixels[:, 0]) if self.model.lean else self._predict_tokens.estimate_depth(pixels)
        points = self.model.points(depth, k).expand(pictures, -1, -1)
        pixels = pixels.expand(pictures, -1, -1, -1)
        text, cells = self._text("put the spoon on the towel"), self._cells(None, (size, size), k)
        self._predict_tokens.warm_up(pixels, points, text, self._noise(), cells)

    def predict(
        self,
        rgb: np.ndarray,
        instruction: str,
        depth: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
        unnorm_key: str | None = None,
        return_details: bool = False,
        traces: TracesInDepth | None = None,
        earlier: Picture | None = None,
    ) -> Prediction:
        """The next actions for one picture.

        :param rgb: (H, W, 3) uint8 of any size.
        :param instruction: instruction in words.
        :param depth: (H, W) or (224, 224) floating-point metres registered to the picture, 0 where unknown, with or
            without traces drawn in. None: the checkpoint's own ZoeDepth estimates it.
        :param intrinsics: (3, 3) in the picture's pixels. None: those that the checkpoint has for its data set.
        :param unnorm_key: data set whose statistics turn normalised actions into metres. None: the only one.
        :param traces: traces in the picture's pixels, for a checkpoint that was trained with traces beside the depth;
            None for none.
        :param earlier: picture that was seen ``earlier_s`` before, for a checkpoint that was trained with an earlier
            picture; None: the newest picture stands in.
        :returns: actions; a ``DetailedPrediction`` with ``return_details``.
        :raises InputError: naming the argument that cannot be used; when memory runs out.
        """
        key, statistics = select_statistics(self.statistics, unnorm_key)
        if depth is None and self.model.lean:
            raise InputError("depth: expected metres, because the checkpoint's own depth network was not loaded (lean)")
        if earlier is not None and not self.earlier_s:
            raise InputError(NO_EARLIER_HEAD)
        details: dict[str, np.ndarray] = {}
        with torch.inference_mode(), memory_for(f"inference on {self.model.device}"):
            seen = [self._prepare(Picture(rgb, depth, intrinsics), key)]
            if self.earlier_s:
                seen.append(seen[0] if earlier is None else self._prepare(earlier, key))
            cells = self._cells(traces, (rgb.shape[1], rgb.shape[0]), seen[0].intrinsics)
            text = self._text(instruction)
            offsets = self._run(seen, text, cells, details if return_details else None)
            wait_for_device(self.model.device)
        tokens = offsets.cpu().numpy().reshape(-1, 3)
        if (tokens == NO_TOKEN).any():
            raise InputError(
                f"inference: expected finite scores, got NaN: weights, depth or intrinsics are beyond what "
                f"{self.model.dtype} can hold"
            )
        normalized = self.action_tokenizer.decode(tokens)
        answer = (tokens, normalized, statistics.unnormalize(normalized))
        return DetailedPrediction(*answer, **details) if return_details else Prediction(*answer)

    def _run(
        self,
        seen: Sequence[_Prepared],
        text: torch.Tensor,
        cells: torch.Tensor | None,
        details: dict[str, np.ndarray] | None,
    ) -> torch.Tensor:
        model = self.model
        depth = seen[0].depth
        pixels = torch.cat([each.pixels for each in seen])
        points = torch.cat([model.points(each.depth, each.intrinsics) for each in seen])
        if details is None:
            return self._predict_tokens(pixels, points, text, self._noise(), cells)
        features = model.image_features(pixels, points, None, cells)
        decoded = self._predict_tokens.decode(features, text, self._noise())
        details["depth"] = depth[0].cpu().numpy()
        details["xyz"] = points[0].cpu().numpy()
        details["image_features"] = features[0].float().cpu().numpy()
        details["logits"] = model.logits(decoded.hidden.to(model.dtype), model.head_begin)[0].cpu().numpy()
        return decoded.offsets

    def _prepare(self, picture: Picture, unnorm_key: str) -> _Prepared:
        """:param unnorm_key: data set whose camera is assumed where no intrinsics are given."""
        size, device = self.model.config.image_size, self.model.device
        pixels = torch.from_numpy(prepare_picture(picture.rgb, size, self._resize))[None].to(device)
        picture_size = (picture.rgb.shape[1], picture.rgb.shape[0])
        if picture.depth is None:
            depth = self._predict_tokens.estimate_depth(pixels)
        else:
            depth = torch.from_numpy(prepare_depth(picture.depth, picture_size, size))[None].to(device)
        return _Prepared(pixels, depth, self._intrinsics(picture.intrinsics, unnorm_key, picture_size))

    def _text(self, instruction: str) -> torch.Tensor:
        """(1, n, E) embeddings of the prompt's tokens after the picture's."""
        if self._embedded is None or self._embedded[0] != instruction:
            ids = torch.from_numpy(self.prompt_tokenizer.encode(instruction))[None]
            self._embedded = instruction, self.model.embed_text(ids[:, self.model.config.num_image_tokens :])
        return self._embedded[1]

    def _cells(
        self, traces: TracesInDepth | None, picture_size: tuple[int, int], intrinsics: torch.Tensor
    ) -> torch.Tensor | None:
        """(1, C, C, 5) cells of the traces on the model's device; None for a model without a head for them."""
        config = self.model.config
        if not config.trace_head:
            if traces is not None:
                raise InputError(NO_TRACE_HEAD)
            return None
        if traces is None:
            cells = np.zeros((config.num_cells, config.num_cells, CELL_NUMBERS), np.float32)
        elif traces.traces.image_size != picture_size:
            raise InputError(
                f"traces: expected those of the picture of {picture_size[0]}x{picture_size[1]} pixels, got "
                f"{traces.traces.image_size[0]}x{traces.traces.image_size[1]}"
            )
        else:
            vertices = trace_vertices(traces, config.image_size)
            cells = trace_cells(vertices, intrinsics[0].cpu().numpy(), config.image_size, config.num_cells)
        return torch.from_numpy(cells)[None].to(self.model.device)

    def _noise(self) -> torch.Tensor | None:
        if not self._temperature:
            return None
        widest = max(end - first for first, end in self._legal_ranges)
        return self._temperature * gumbel_noise(len(self._legal_ranges), widest, self._generator).to(self.model.device)

    def _intrinsics(
        self, intrinsics: np.ndarray | None, unnorm_key: str | None, picture_size: tuple[int, int]
    ) -> torch.Tensor:
        """(1, 3, 3) float32 in pixels of the model's picture, on its device."""
        if intrinsics is None:
            intrinsics, picture_size = self._published_intrinsics(unnorm_key)
        scaled = scale_intrinsics(intrinsics, picture_size, self.model.config.image_size)
        return torch.from_numpy(scaled)[None].to(self.model.device)

    def _published_intrinsics(self, unnorm_key: str | None) -> tuple[np.ndarray, tuple[int, int]]:
        """Intrinsics of a data set's camera, else the default ones: (3, 3), and (width, height) of the picture."""
        known = self.processor.get("intrinsic_config")
        try:
            entry = next(known[key] for key in (unnorm_key, DEFAULT_INTRINSICS) if key in known)
            return np.array(entry["intrinsic"], dtype=np.float64), (int(entry["width"]), int(entry["height"]))
        except (KeyError, StopIteration, TypeError, ValueError) as error:
            raise InputError(
                f"intrinsics: expected the camera's, because {PROCESSOR_CONFIG} has no intrinsic_config "
                f"{DEFAULT_INTRINSICS!r} with intrinsic, width and height"
            ) from error

    def save_pretrained(self, directory: str | Path, max_shard_size: int | str = "5GB") -> None:
        """Write a checkpoint in the published layout: weights, config.json, and the files that processing pictures and
        words needs.
        """
        save_pretrained(Path(directory), self.model, self.prompt_tokenizer, self.processor, max_shard_size)


def save_pretrained(
    directory: Path,
    model: SpatialVla,
    prompt_tokenizer: PromptTokenizer,
    processor: Mapping[str, Any],
    max_shard_size: int | str = "5GB",
) -> None:
    """See ``SpatialVlaPredictor.save_pretrained``."""
    save_model(model, directory, max_shard_size)
    (directory / PROCESSOR_CONFIG).write_text(json.dumps(processor, indent=2) + "\n")
    config = model.config
    preprocessor = preprocessor_config(config.image_size, config.num_image_tokens)
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
    prompt_tokenizer.save(directory)
