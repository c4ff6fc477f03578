"""Named sets of settings."""

from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.training_record import PUBLISHED_EXECUTION

WIDOWX_TASKS = ("spoon_on_towel", "carrot_on_plate", "stack_cube", "eggplant_in_basket")
PROTOCOL_EPISODES = 24


@dataclass(frozen=True)
class Preset:
    """The settings that a preset fixes, in place of the arguments.

    :param inputs: inputs of a policy, where neither an argument nor its training says otherwise.
    :param execution: execution of the chunks of policy ``stvla``, if no other is given.
    """

    tasks: tuple[str, ...]
    episodes: int
    until_limit: bool
    inputs: InputsConfig
    execution: str


PRESETS = {
    # SimplerEnv's WidowX protocol (arXiv 2405.05941): the first 24 placements of each task, time limits of 60 control
    # steps (eggplant 120), each episode to its limit, success judged at the last step. SpatialVLA's own settings
    # (DelinQu/SimplerEnv-OpenVLA): pictures resized by area; the ensemble of the last 4 chunks with weights exp(0.8 i),
    # and a gripper that is sticky for 1 step, every policy's default here (embodiments.py).
    "simplerenv-widowx": Preset(
        WIDOWX_TASKS, PROTOCOL_EPISODES, True, InputsConfig(resize="area"), PUBLISHED_EXECUTION
    ),
}


def find_preset(name: str) -> Preset:
    """:raises InputError: when there is no such preset."""
    if name not in PRESETS:
        raise InputError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]
