"""The words of questions about places. Data only: tokenizers of new networks know them as whole words."""

from collections.abc import Mapping

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
