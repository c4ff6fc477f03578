"""A loaded policy: pictures with depth and an instruction in, a chunk of actions and the picture to come out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stvla_ros.devices import memory_for, wait_for_device
from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, select_statistics
from stvla_ros.policy.base import Picture, PolicyInput
from stvla_ros.policy.pictures import check_depth, check_picture
from stvla_ros.policy.sampling import check_resize
from stvla_ros.policy.seeded_draws import SeededDraws
from stvla_ros.policy.ssm_vla.action_scale import unscaled
from stvla_ros.policy.ssm_vla.lam.frame_decoder import Rebuilt
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.model import Observations, SsmVla
from stvla_ros.policy.ssm_vla.other_pictures import OtherPictures
from stvla_ros.policy.ssm_vla.sampling_steps import check_steps
from stvla_ros.policy.ssm_vla.sizes import STEPS
from stvla_ros.policy.ssm_vla.training.lam_batch import LamPreparation, scene_of
from stvla_ros.policy.ssm_vla.vla.flow_head import ACTION, FlowSampler
from stvla_ros.policy.ssm_vla.words import WordTokenizer
from stvla_ros.policy.thoughts import PredictedPicture

_TRACED = 224
"""Side of the maps that traces are drawn on, which may stand in for the camera's."""


@dataclass(frozen=True)
class PredictedChunk:
    """One chunk of K actions.

    :param normalized: (K, 7) float32 as sampled, not clipped.
    :param actions: (K, 7) float64: x y z in metres, roll pitch yaw in radians about fixed axes, gripper 0 (closed) or 1
        (open); each relative to the pose before it.
    :param expected: picture, with depth if the checkpoint knows depth, that is expected ``ahead_s`` later, S pixels a
        side.
    """

    normalized: np.ndarray
    actions: np.ndarray
    expected: PredictedPicture


class SsmVlaPredictor(SeededDraws):
    """A model with its tokenizer and statistics. Not thread-safe.

    :param model: the network, on its device.
    :param words: tokenizer that turns instructions into ids.
    :param statistics: statistics by data set.
    :param steps: number of the sampler's steps, 1 to 100.
    :param resize: method of resizing pictures to the model's size, one of ``RESIZE_METHODS``.
    :param seed: seed of the noise.
    :param vision_of: file with frames of other episodes (``other_pictures.py``) whose vision tokens stand in the place
        of the observation's own: an ablation of the visual chain of thought. Empty: its own.
    :raises InputError: for a value out of range.
    """

    def __init__(
        self,
        model: SsmVla,
        words: WordTokenizer,
        statistics: Mapping[str, ActionStatistics],
        steps: int = STEPS,
        resize: str = "area",
        seed: int = 0,
        vision_of: str = "",
    ) -> None:
        check_steps(steps)
        check_resize(resize)
        self._others = OtherPictures(Path(vision_of)) if vision_of else None
        self._step = 0
        self.model, self.words, self.statistics = model, words, statistics
        self.preparation = LamPreparation(model.config.frame_size, resize)
        with torch.inference_mode():
            self._sample = FlowSampler(model.flow, steps)
        super().__init__(seed)

    def warm_up(self) -> None:
        """Do now everything that would make the first calls slow.

        :raises InputError: when memory runs out.
        """
        size = self.model.config.frame_size
        blank, depth = np.zeros((size, size, 3), np.uint8), np.ones((size, size), np.float32)
        self.predict(blank, "put the spoon on the towel", depth, unnorm_key=next(iter(self.statistics)))
        self.reset()

    def reset(self) -> None:
        super().reset()
        self._step = 0

    @property
    def uses_depth(self) -> bool:
        return self.model.lam.rebuilds_depth

    def predict(
        self,
        rgb: np.ndarray,
        instruction: str,
        depth: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
        unnorm_key: str | None = None,
        earlier: Picture | None = None,
    ) -> PredictedChunk:
        """The next actions for one observation.

        :param rgb: (H, W, 3) uint8 of any size.
        :param instruction: instruction in words.
        :param depth: (H, W) floating-point metres registered to the picture, 0 where unknown, or (224, 224) with traces
            drawn in; needed by checkpoints that know depth.
        :param intrinsics: (3, 3) in the picture's pixels. None: things are placed along the camera's axis alone.
        :param unnorm_key: data set whose statistics turn scaled actions into metres. None: the only one.
        :param earlier: picture that was seen ``before_s`` before; None: the newest picture stands in.
        :raises InputError: naming the argument that cannot be used; when memory runs out.
        """
        _, statistics = select_statistics(self.statistics, unnorm_key)
        model = self.model
        with torch.inference_mode(), memory_for(f"inference on {model.device}"):
            now = self._scene(Picture(rgb, depth, intrinsics))
            before = now if earlier is None else self._scene(earlier)
            words = torch.from_numpy(self.words.encode(instruction))[None].to(model.device)
            states = model.states(Observations(now, before, words), self._others_vision())
            # Drawn only now, so that a refused observation draws nothing.
            noise = torch.randn(1, model.config.chunk, ACTION, generator=self._generator).to(model.device)
            sampled = self._sample(states.actions, noise)
            expected = model.expected(now, states)
            wait_for_device(model.device)
        normalized = sampled[0].cpu().numpy()
        if not np.isfinite(normalized).all():
            raise InputError("inference: expected finite actions, got NaN or infinity: the weights are damaged")
        return PredictedChunk(normalized, unscaled(normalized, statistics), self._shown(expected))

    def _others_vision(self) -> list[torch.Tensor]:
        """The vision tokens of this step in another episode; none where the observation's own are looked at."""
        if self._others is None:
            return []
        now, before, instruction = self._others.at(self._seed, self._step)
        self._step += 1
        words = torch.from_numpy(self.words.encode(instruction))[None].to(self.model.device)
        return self.model.vision_tokens(Observations(self._scene(now), self._scene(before), words))

    def _scene(self, seen: Picture) -> Scene:
        """The picture as training would prepare it, of the side S, on the device."""
        check_picture(seen.rgb)
        if self.uses_depth:
            if seen.depth is None:
                raise InputError("depth: expected metres, because the checkpoint was trained with depth, got none")
            check_depth(seen.depth, (seen.rgb.shape[1], seen.rgb.shape[0]), _TRACED)
            if not (seen.depth > 0).any():
                raise InputError("depth: expected some known (positive) metres, all of it is 0")
        else:
            seen = Picture(seen.rgb, None, seen.intrinsics)
        prepared = self.preparation(PolicyInput.of(0, seen.rgb, seen.depth, seen.intrinsics))
        scene = scene_of({name: each[None] for name, each in prepared.items()})
        return scene.to(self.model.device).resized(self.model.lam.picture_size)

    def _shown(self, expected: Rebuilt) -> PredictedPicture:
        rgb = (255.0 * expected.rgb[0, 0].clamp(0.0, 1.0)).round().to(torch.uint8).permute(1, 2, 0)
        depth = expected.depth()
        shown_depth = None if depth is None else depth[0, 0].float().cpu().numpy()
        return PredictedPicture(rgb.cpu().numpy(), shown_depth, self.model.config.ahead_s)
