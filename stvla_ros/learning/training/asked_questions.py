"""Questions about pictures in a training: their choice, their number, and which are held out."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.grounding.reading import GroundingQuestions, read_grounding
from stvla_ros.learning.grounding.shuffling import with_answers_shuffled
from stvla_ros.policy.samples import Questions

_HELD_OUT = 4
_MOST_SHARE, _MOST_CROP = 16.0, 0.8


@dataclass(frozen=True)
class GroundingConfig:
    """Questions about pictures (docs/reference/grounding.md), for families with the objective ``grounding``.

    :param paths: folders or files with questions.
    :param share: ratio of questions to demonstrations' samples in a batch. A stage with no other objective takes as
        many questions as its batch is large.
    :param crop: share of each side of the pictures that may be cut away.
    :param flip: share of the pictures that are mirrored.
    :param shuffled: whether each question gets the answer from another picture, with the same words: a control, from
        which nothing can be learnt about places.
    :raises InputError: for a value out of range.
    """

    paths: tuple[str, ...] = ()
    share: float = 0.25
    crop: float = 0.0
    flip: float = 0.0
    shuffled: bool = False

    def __post_init__(self) -> None:
        for name, high in (("share", _MOST_SHARE), ("crop", _MOST_CROP), ("flip", 1.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= high:
                raise InputError(f"{name}: expected 0 to {high:g}, got {value}")
        if not self.share:
            raise InputError("share: expected more than 0, got 0; leave the objective grounding out")

    def count(self, batch_size: int, alone: bool) -> int:
        """Number of questions in a batch. :param alone: whether the batch has no other samples."""
        return batch_size if alone else max(1, round(self.share * batch_size))


@dataclass(frozen=True, eq=False)
class AskedQuestions:
    """
    :param questions: all of them.
    :param train, validation: indices of the questions that are trained on, and of those that are held out.
    :param pictures: number of pictures that the questions are about.
    """

    questions: Questions
    train: np.ndarray
    validation: np.ndarray
    pictures: int


def ask_questions(config: GroundingConfig, held_out: float, seed: int) -> AskedQuestions:
    """Read all questions.

    :param held_out: share of the pictures that are held out, with all questions about them.
    :raises InputError: for unusable files.
    """
    samples = [sample for path in config.paths for sample in read_grounding(Path(path))]
    if config.shuffled:
        samples = with_answers_shuffled(samples, seed)
    _, picture = np.unique([str(sample.picture) for sample in samples], return_inverse=True)
    pictures = int(picture.max()) + 1
    held = min(math.ceil(held_out * pictures), pictures - 1) if held_out else 0
    chosen = np.random.default_rng([_HELD_OUT, seed]).permutation(pictures)[:held]
    is_held = np.isin(picture, chosen)
    questions = GroundingQuestions(samples, config.crop, config.flip)
    return AskedQuestions(questions, np.flatnonzero(~is_held), np.flatnonzero(is_held), pictures)
