"""A loaded checkpoint that answers pictures and instructions with actions."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.devices import memory_for, own_queue, wait_for_device
from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, select_statistics
from stvla_ros.policy.pictures import prepare_picture
from stvla_ros.policy.seeded_draws import SeededDraws
from stvla_ros.policy.st4vla.chunk_pass import ChunkPass, Prompt
from stvla_ros.policy.st4vla.config import MOST_VIEWS
from stvla_ros.policy.st4vla.denoising_steps import check_sampling
from stvla_ros.policy.st4vla.encoder_inputs import patches
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.normaliser import unnormalize
from stvla_ros.policy.st4vla.padding import padded
from stvla_ros.policy.st4vla.prompt import PromptTokenizer
from stvla_ros.policy.st4vla.sizes import GUIDANCE, STEPS

MOST_TOKENS, USUAL_TOKENS = 1024, 256
"""Largest and usual number of tokens of an answer in words."""


@dataclass(frozen=True)
class PredictedChunk:
    """One chunk of T actions.

    :param normalized: (T, 7) float32 as sampled, not clipped.
    :param actions: (T, 7) float64: x y z in metres, roll pitch yaw in radians about fixed axes, gripper 0 (closed) or 1
        (open); each relative to the pose before it.
    """

    normalized: np.ndarray
    actions: np.ndarray


class St4VlaPredictor(SeededDraws):
    """A model with its tokenizer and statistics. Not thread-safe.

    :param model: the network, on its device.
    :param prompts: tokenizer that turns instructions into token ids.
    :param statistics: statistics by data set.
    :param steps: number of steps of the sampler, one of ``denoising_steps.sampler_steps``.
    :param guidance: strength of the guidance away from the answer without a condition, 0 to 100; up to 1: none.
    :param resize: method of resizing pictures to the model's size, one of ``RESIZE_METHODS``.
    :param seed: seed of the noise.
    :raises InputError: for a value out of range.
    """

    def __init__(
        self,
        model: St4Vla,
        prompts: PromptTokenizer,
        statistics: Mapping[str, ActionStatistics],
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        resize: str = "bicubic",
        seed: int = 0,
    ) -> None:
        check_sampling(steps, guidance, resize)
        self.model, self.prompts, self.statistics = model, prompts, statistics
        self._steps, self._guidance, self._resize = steps, guidance, resize
        super().__init__(seed)
        # Made when it is needed: a predictor that is only asked needs none.
        self._pass: ChunkPass | None = None
        # Prompt of the last instruction, which usually is the next one as well.
        self._encoded: tuple[tuple[str, int], Prompt] | None = None

    def warm_up(self) -> None:
        """Do now everything that would make the first calls slow.

        :raises InputError: when memory runs out.
        """
        size, instruction = self.model.config.picture_size, "put the spoon on the towel"
        blank = [np.zeros((size, size, 3), np.uint8)]
        with torch.inference_mode(), memory_for(f"warm-up on {self.model.device}"):
            ids = torch.from_numpy(self.prompts.encode(instruction))[None].to(self.model.device)
            self._chunk_pass.warm_up(self._prepared(blank), ids, self._noise())
        self.predict(blank, instruction, next(iter(self.statistics)))
        self.reset()

    def predict(
        self, pictures: Sequence[np.ndarray], instruction: str, unnorm_key: str | None = None
    ) -> PredictedChunk:
        """The next actions for one observation.

        :param pictures: each (H, W, 3) uint8 of any size, in the order of training.
        :param instruction: instruction in words.
        :param unnorm_key: data set whose statistics turn normalised actions into metres. None: the only one.
        :raises InputError: naming the argument that cannot be used; when memory runs out.
        """
        _, statistics = select_statistics(self.statistics, unnorm_key)
        model = self.model
        with torch.inference_mode(), memory_for(f"inference on {model.device}"):
            stacked = self._prepared(pictures)
            prompt = self._prompt(instruction, len(pictures))
            # Drawn only now, so that a refused observation draws nothing.
            sampled = self._chunk_pass(stacked, prompt, self._noise())
            wait_for_device(model.device)
        normalized = sampled[0].cpu().numpy()
        if not np.isfinite(normalized).all():
            raise InputError(
                f"inference: expected finite actions, got NaN or infinity: weights are beyond what {model.dtype} holds"
            )
        return PredictedChunk(normalized, unnormalize(normalized, statistics))

    @property
    def picture_size(self) -> int:
        """Side of the pictures that the network sees, pixels."""
        return self.model.config.picture_size

    def beside(self) -> "St4VlaPredictor":
        """Another predictor for another thread, with the same weights in memory. What `transformers` keeps in its
        modules between two calls (the offset of the positions) each has for itself.
        """
        tensors = (*self.model.parameters(), *self.model.buffers())
        model = copy.deepcopy(self.model, {id(tensor): tensor for tensor in tensors})
        options = (self._steps, self._guidance, self._resize, self._seed)
        return St4VlaPredictor(model, self.prompts, self.statistics, *options)

    def ask(
        self,
        pictures: Sequence[np.ndarray],
        question: str,
        most_tokens: int = USUAL_TOKENS,
        given_up: Callable[[], bool] = lambda: False,
    ) -> str:
        """The language model's answer in words, decoded greedily.

        :param pictures: pictures, as for ``predict``.
        :param question: question in words; no text is added around it.
        :param most_tokens: number of tokens at which the answer is cut off, 1 to ``MOST_TOKENS``.
        :param given_up: function that tells, after each token, whether to cut the answer off there.
        :returns: the answer; places in it are pixels of the picture of ``picture_size``.
        :raises InputError: naming the argument that cannot be used; when memory runs out.
        """
        _check_most_tokens(most_tokens)
        ids = torch.from_numpy(self.prompts.encode_question(question, len(pictures)))[None].to(self.model.device)
        device = self.model.device
        with torch.inference_mode(), memory_for(f"inference on {device}"), own_queue(device):
            pixels, grid = patches(self._prepared(pictures))
            said = self.model.answer(pixels, grid, ids, torch.ones_like(ids), self.prompts.end, most_tokens, given_up)
            wait_for_device(device)
            return self.prompts.decode(said[0].tolist())

    def ask_each(
        self, pictures: Sequence[np.ndarray], questions: Sequence[str], most_tokens: int = USUAL_TOKENS
    ) -> list[str]:
        """Answers in words to several questions, decoded together. Beside a longer one, an answer is what ``ask`` gives
        up to rounding.

        :param pictures: one picture for each question.
        :param questions, most_tokens: parameters of ``ask``, a question for each picture.
        :raises InputError: as ``ask``; for another number of pictures.
        """
        _check_most_tokens(most_tokens)
        if len(pictures) != len(questions) or not questions:
            raise InputError(f"pictures: expected one for each question, got {len(pictures)} for {len(questions)}")
        device = self.model.device
        ids, mask = (each.to(device) for each in padded([self.prompts.encode_question(each) for each in questions]))
        with torch.inference_mode(), memory_for(f"inference on {device}"), own_queue(device):
            prepared = np.stack([prepare_picture(picture, self.picture_size, self._resize) for picture in pictures])
            pixels, grid = patches(torch.from_numpy(prepared).to(device))
            said = self.model.answer(pixels, grid, ids, mask, self.prompts.end, most_tokens)
            wait_for_device(device)
            return [self.prompts.decode(_until(row, self.prompts.end)) for row in said.tolist()]

    def _prepared(self, pictures: Sequence[np.ndarray]) -> torch.Tensor:
        """(V, 3, S, S) numbers from 0 to 1, on the device."""
        if not 1 <= len(pictures) <= MOST_VIEWS:
            raise InputError(f"pictures: expected 1 to {MOST_VIEWS}, got {len(pictures)}")
        prepared = np.stack([prepare_picture(picture, self.picture_size, self._resize) for picture in pictures])
        return torch.from_numpy(prepared).to(self.model.device)

    def _noise(self) -> torch.Tensor:
        return torch.randn(1, self.model.config.chunk, 7, generator=self._generator).to(self.model.device)

    @property
    def _chunk_pass(self) -> ChunkPass:
        if self._pass is None:
            self._pass = ChunkPass(self.model, self._steps, self._guidance)
        return self._pass

    def _prompt(self, instruction: str, views: int) -> Prompt:
        if self._encoded is None or self._encoded[0] != (instruction, views):
            ids = torch.from_numpy(self.prompts.encode(instruction, views))[None].to(self.model.device)
            self._encoded = (instruction, views), self._chunk_pass.prompt(ids, views)
        return self._encoded[1]


def _check_most_tokens(most_tokens: int) -> None:
    """:raises InputError: for a number of tokens out of range."""
    if type(most_tokens) is not int or not 1 <= most_tokens <= MOST_TOKENS:
        raise InputError(f"most_tokens: expected 1 to {MOST_TOKENS}, got {most_tokens!r}")


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
