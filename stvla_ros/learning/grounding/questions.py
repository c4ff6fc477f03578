"""Questions about the places of things, and the answers that a vision-language model should write. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stvla_ros.learning.grounding.facts import SceneFacts
from stvla_ros.policy.grounding.places import box_text, path_text, point_text
from stvla_ros.policy.grounding.wordings import FORMS, GRIPPER

# Slices of the wordings of "box of a part in the task": the thing to move, its goal, both.
_MOVED, _GOAL, _BOTH = slice(0, 2), slice(2, 4), slice(4, 6)


@dataclass(frozen=True)
class Question:
    """
    :param form: one of ``FORMS``.
    :param text: text of the question.
    :param answer: text of the answer.
    """

    form: str
    text: str
    answer: str


def ask(facts: SceneFacts, random: np.random.Generator) -> list[Question]:
    """One question of every form that the picture can answer, and a question about the box of each thing.

    :param random: random numbers that choose the wordings.
    """
    return list(_ask(facts, random))


def _ask(facts: SceneFacts, random: np.random.Generator) -> Iterator[Question]:
    def worded(form: str, answer: str, name: str = "", some: slice = slice(None)) -> Question:
        wordings = FORMS[form][some]
        wording = wordings[int(random.integers(len(wordings)))]
        return Question(form, wording.format(name=name, task=_task(facts.instruction)), answer)

    boxes = {name: box_text(box, name) for name, box in facts.boxes.items()}
    for name, box in boxes.items():
        yield worded("box of a thing", box, name)
    moved, goal = facts.moved, facts.goal
    for name, some in ((moved, _MOVED), (goal, _GOAL)):
        if name in boxes:
            yield worded("box of a part in the task", boxes[name], some=some)
    if moved in boxes and goal in boxes:
        yield worded("box of a part in the task", f"[{boxes[moved]}, {boxes[goal]}]", some=_BOTH)
    if moved in facts.inside:
        yield worded("point on the object", point_text(facts.inside[moved], moved), moved)
    if facts.place is not None and moved:
        yield worded("point of the goal", point_text(facts.place, goal or "goal"), moved)
    if facts.gripper is not None:
        yield worded("gripper", point_text(facts.gripper, GRIPPER))
    if facts.way is not None:
        yield worded("way", path_text(facts.way, GRIPPER))


def _task(instruction: str) -> str:
    """The instruction in the middle of a sentence."""
    return instruction.strip().rstrip(".!").lower()
