"""A policy that says what it thinks, as a package for the live graph. It shows each kind of thought."""

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import Answer, Policy, PolicyInput
from stvla_ros.policy.thoughts import Boxes, Points, PredictedPicture, Thought

BOX = (8.0, 12.0, 30.0, 24.0)
WAY = ((10.0, 20.0), (20.0, 30.0), (40.0, 30.0))
AHEAD_S = 0.6


def thoughts_of(rgb: np.ndarray, instruction: str) -> dict[str, Thought]:
    return {
        "object": Boxes(np.array([BOX]), ("cube",)),
        "way": Points(np.array(WAY), is_path=True),
        "soon": PredictedPicture(255 - rgb, np.full((6, 8), 0.5, np.float32), AHEAD_S),
        "plan": f"first\n{instruction}",
        "elsewhere": Points(np.array([[1.0, 2.0]]), camera="wrist"),
    }


class Thinker(Policy):
    name = "thinker"

    def predict(self, observation: PolicyInput) -> Answer:
        thoughts: dict = thoughts_of(observation.picture.rgb, observation.instruction)
        if observation.instruction == "confused":
            thoughts["what"] = 7
        return Answer((EndEffectorAction(np.array([0.01, 0.0, 0.0]), np.zeros(3), 1.0),), thoughts)
