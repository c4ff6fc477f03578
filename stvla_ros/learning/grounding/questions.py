"""Questions about the places of things, and the answers that a vision-language model should write. Pure functions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from stvla_ros.learning.grounding.facts import SceneFacts
from stvla_ros.policy.grounding.places import box_text, path_text, point_text

GRIPPER = "gripper"
FORMS: Mapping[str, tuple[str, ...]] = {
    "box of a thing": (
        "box of the {name}",
        "Where is the {name}? Answer with its box.",
        "Find the {name}. Write its bounding box as JSON.",
        "Which part of the picture shows the {name}? Give the box.",
    ),
    "box of a part in the task": (
        "The task is to {task}. Box of what is to be moved.",
        "To {task}, what has to be grasped? Give its box.",
        "The task is to {task}. Box of where that goes.",
        "To {task}, where does it have to go? Give the box.",
        "Your task is to {task}. Give the boxes of the key objects in [x1,y1,x2,y2] format.",
        "What matters when you {task}? Give the boxes in [x1,y1,x2,y2] format.",
    ),
    "point on the object": (
        "The task is to {task}. Point to what is to be moved.",
        "Point on the {name}.",
        "One pixel that shows the {name}, as JSON.",
    ),
    "point of the goal": (
        "The task is to {task}. Point to where it is to be put.",
        "To {task}, at which pixel should the {name} end?",
        "Where should the {name} be let go to {task}? Give a point.",
    ),
    "gripper": (
        "Point to the gripper.",
        "Where is the gripper now? Give a point.",
        "At which pixel is the robot's hand?",
    ),
    "way": (
        "The task is to {task}. Which way will the gripper go? Give its points.",
        "To {task}, draw the coming path of the gripper as a list of points.",
        "Trajectory of the gripper to {task}, as JSON.",
    ),
}
"""Wordings by form. ``{name}`` is a thing's name, ``{task}`` the instruction."""
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
