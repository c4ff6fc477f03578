"""Answers from other pictures: a control for what grounding data bring. Pure functions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.grounding.reading import GroundingSample
from stvla_ros.policy.grounding.places import find_places

# Part of the seeds of the order.
_SHUFFLED = 0xA11


def with_answers_shuffled(samples: Sequence[GroundingSample], seed: int) -> list[GroundingSample]:
    """Each question with the answer to a question of its kind about another picture: the same words and labels, and as
    many numbers, which tell nothing of the picture.

    Answers are of a kind when they differ in nothing but the numbers of their places, and when the pictures are of one
    size. Questions whose kind has a single picture are left out.

    :param seed: seed of the choice.
    :returns: the samples in their order.
    :raises InputError: when no question is left.
    """
    kinds: dict[tuple[str, tuple[int, int]], list[int]] = {}
    for number, sample in enumerate(samples):
        kinds.setdefault((_words(sample.answer), sample.size), []).append(number)
    answers: dict[int, str] = {}
    for kind, numbers in enumerate(kinds.values()):
        random = np.random.default_rng([_SHUFFLED, seed, kind])
        by_picture: dict[str, list[int]] = {}
        for number in numbers:
            by_picture.setdefault(str(samples[number].picture), []).append(number)
        pictures = [by_picture[picture] for picture in by_picture]
        order = random.permutation(len(pictures))
        # Each picture gets its answers from the next one: none keeps its own.
        for place, giver in zip(order, np.roll(order, 1), strict=True):
            if place != giver:
                given = pictures[giver]
                for count, number in enumerate(pictures[place]):
                    answers[number] = samples[given[count % len(given)]].answer
    if not answers:
        raise InputError("grounding.shuffled: expected questions of one kind about several pictures, got none")
    return [replace(samples[number], answer=answer) for number, answer in sorted(answers.items())]


def _words(answer: str) -> str:
    """The answer without the numbers of its places."""
    parts, begin = [], 0
    for first, end, numbers in find_places(answer):
        parts += [answer[begin:first], "," * len(numbers)]
        begin = end
    return "".join([*parts, answer[begin:]])
