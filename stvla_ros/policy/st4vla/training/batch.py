"""Prepared frames, and questions, as the tensors of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.kept_frames import PICTURES, keep_picture, picture_array
from stvla_ros.policy.samples import Augmentation, Preparation, Samples, SeenQuestion
from stvla_ros.policy.st4vla.normaliser import GRIPPER, OPEN_FROM
from stvla_ros.policy.st4vla.padding import padded
from stvla_ros.policy.st4vla.prompt import PromptTokenizer


@dataclass(frozen=True)
class St4VlaPreparation(Preparation):
    """Keeps the picture as the model sees it.

    :param size: side of the picture, pixels.
    :param resize: method of resizing, one of ``RESIZE_METHODS``.
    """

    size: int
    resize: str

    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], type]]:
        return picture_array(self.size)

    def __call__(self, observation: PolicyInput) -> Mapping[str, np.ndarray]:
        return keep_picture(observation.picture.rgb, self.size, self.resize)


@dataclass(frozen=True)
class ActionBatch:
    """
    :param pictures: (B, S, S, 3) uint8.
    :param ids, mask: token ids of the prompts, (B, L), padded at the left; the mask is 0 at the padding.
    :param normalized: (B, T, 7) float32, the gripper 0 or 1.
    :param valid: (B, T) bool, which actions count.
    """

    pictures: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    normalized: torch.Tensor
    valid: torch.Tensor

    def to(self, device: torch.device) -> "ActionBatch":
        return ActionBatch(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class QuestionBatch:
    """
    :param pictures: (B, S, S, 3) uint8.
    :param ids, mask: token ids of questions and answers, (B, L), padded at the left; the mask is 0 at the padding.
    :param answered: (B, L) bool, True at the assistant's tokens, its turn's end among them.
    """

    pictures: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    answered: torch.Tensor

    def to(self, device: torch.device) -> "QuestionBatch":
        return QuestionBatch(**{name: value.to(device) for name, value in vars(self).items()})


class BatchMaker:
    """
    :param samples: prepared frames.
    :param prompts: tokenizer of the checkpoint's prompts.
    :param statistics: statistics of the training set.
    :param chunk: number of actions in a chunk, T.
    :param past_end: rule for actions after the episode's end, see ``St4VlaOptions``.
    """

    def __init__(
        self, samples: Samples, prompts: PromptTokenizer, statistics: ActionStatistics, chunk: int, past_end: str
    ) -> None:
        self._samples, self._chunk, self._zeros = samples, chunk, past_end == "zeros"
        self._normalized = normalized(samples.actions, statistics)
        self._still = normalized(np.zeros((1, 7)), statistics)
        self._prompts = {text: prompts.encode(text) for text in set(samples.instructions)}

    def make(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> ActionBatch:
        """Make a batch, see ``Trainable.batch``."""
        samples = self._samples
        pictures = samples.prepared[PICTURES][indices]
        if augmentation is not None:
            # The augmentation also changes depth and camera, which this family does not see.
            nothing = (
                np.ones((len(indices), 1, 1), np.float32),
                np.tile(np.eye(3, dtype=np.float32), (len(indices), 1, 1)),
            )
            pictures = augmentation(pictures, *nothing)[0]
        ids, mask = padded([self._prompts[text] for text in samples.texts(indices)])
        steps, valid = samples.chunks(indices, self._chunk)
        actions = np.where(valid[..., None], self._normalized[steps], self._still)
        return ActionBatch(
            torch.from_numpy(np.ascontiguousarray(pictures)),
            ids,
            mask,
            torch.from_numpy(actions).float(),
            torch.from_numpy(valid | self._zeros),
        )


def question_batch(questions: Sequence[SeenQuestion], prompts: PromptTokenizer) -> QuestionBatch:
    """Make a batch of questions, see ``Trainable.question_batch``."""
    asked = [prompts.encode_question(each.question) for each in questions]
    answers = [prompts.encode_answer(each.answer) for each in questions]
    ids, mask = padded([np.concatenate(each) for each in zip(asked, answers, strict=True)])
    answered = torch.zeros_like(ids, dtype=torch.bool)
    for row, answer in enumerate(answers):
        answered[row, -len(answer) :] = True
    return QuestionBatch(torch.from_numpy(np.stack([each.rgb for each in questions])), ids, mask, answered)


def normalized(actions: np.ndarray, statistics: ActionStatistics) -> np.ndarray:
    """Actions (N, 7) as the diffusion transformer learns them: -1 to 1, the gripper 0 (closed) or 1 (open)."""
    scaled = statistics.normalize(actions)
    scaled[..., GRIPPER] = actions[..., GRIPPER] > OPEN_FROM
    return scaled
