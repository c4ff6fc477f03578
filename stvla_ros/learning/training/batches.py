"""The input of each step: a batch of demonstrations' samples, one of questions about pictures, or both."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from stvla_ros.learning.training.asked_questions import AskedQuestions
from stvla_ros.learning.training.augmentation import DrawnAugmentation
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.order import batch_indices
from stvla_ros.learning.training.stages import Stage
from stvla_ros.policy.families import GROUNDING
from stvla_ros.policy.trainable import Batch, Trainable

_AUGMENTATION, _QUESTIONS = 2, 3
_VALIDATION_SAMPLES = 256
_VALIDATION_BATCH = 32


@dataclass(frozen=True, eq=False)
class Part:
    """One forward and backward pass of a step.

    :param objectives: weights of the objectives of this pass.
    :param share: share of all samples that are in this pass, where figures are means over several passes.
    """

    batch: Batch
    objectives: Mapping[str, float]
    share: float = 1.0


class Batches:
    """
    :param trainable: network; it has the prepared frames.
    :param stages: stages of the whole run.
    :param train: indices of each stage's frames.
    :param validation: indices of the held-out frames.
    :param device: device of the network.
    :param asked: questions, if some stage has them.
    """

    def __init__(
        self,
        config: TrainingConfig,
        trainable: Trainable,
        stages: Sequence[Stage],
        train: Sequence[np.ndarray],
        validation: np.ndarray,
        device: torch.device,
        asked: AskedQuestions | None,
    ) -> None:
        self._config, self._trainable, self._device = config, trainable, device
        self._stages, self._train, self._asked = tuple(stages), tuple(train), asked
        self._validation = self._some(validation)
        self._validation_questions = self._some(np.empty(0, np.int64) if asked is None else asked.validation)
        self._reader = ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[list[Part]]] | None = None

    def next(self, number: int) -> list[Part]:
        """Batch ``number`` on the device. Then begin to read the next batch from the disk."""
        if self._coming is None or self._coming[0] != number:
            self._coming = number, self._reader.submit(self.make, number)
        parts = self._coming[1].result()
        self._coming = number + 1, self._reader.submit(self.make, number + 1)
        return parts

    def make(self, number: int) -> list[Part]:
        """Make batch ``number``: everything in it follows from the seed and the number."""
        config = self._config
        # The next batch may belong to the next stage.
        stage = stage_at(self._stages, number // config.gradient_accumulation)
        shown, asked = _split(self._stages[stage].objectives)
        entropy = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
        parts = []
        if shown:
            indices = batch_indices(config.seed, number, config.batch_size, self._train[stage])
            random = np.random.default_rng([_AUGMENTATION, entropy])
            batch = self._trainable.batch(indices, DrawnAugmentation(config.augmentation, len(indices), random))
            parts.append(Part(batch.to(self._device), shown))
        if asked and self._asked is not None:
            count = config.grounding.count(config.batch_size, alone=not shown)
            numbers = batch_indices(config.seed, number, count, self._asked.train)
            parts.append(Part(self._questions(numbers, np.random.default_rng([_QUESTIONS, entropy])), asked))
        return parts

    def held_out(self, stage: Stage) -> Iterator[Part]:
        """The held-out samples of a stage, batch by batch; nothing is random."""
        shown, asked = _split(stage.objectives)
        for indices in _batches(self._validation) if shown else ():
            share = len(indices) / len(self._validation)
            yield Part(self._trainable.batch(indices).to(self._device), shown, share)
        for numbers in _batches(self._validation_questions) if asked else ():
            yield Part(self._questions(numbers, None), asked, len(numbers) / len(self._validation_questions))

    def _questions(self, numbers: np.ndarray, random: np.random.Generator | None) -> Batch:
        size = self._trainable.question_size
        seen = [self._asked.questions.see(int(number), size, random) for number in numbers]
        return self._trainable.question_batch(seen).to(self._device)

    def _some(self, held_out: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(self._config.seed)
        return np.sort(random.permutation(held_out)[:_VALIDATION_SAMPLES])


def stage_at(stages: Sequence[Stage], step: int) -> int:
    """The index of the stage that a step belongs to; after the end, the last stage's."""
    return next((number for number, stage in enumerate(stages) if step < stage.end), len(stages) - 1)


def _split(objectives: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """The objectives for demonstrations, and those for questions."""
    shown = {name: weight for name, weight in objectives.items() if name != GROUNDING}
    return shown, {name: weight for name, weight in objectives.items() if name == GROUNDING}


def _batches(numbers: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), _VALIDATION_BATCH):
        yield numbers[first : first + _VALIDATION_BATCH]
