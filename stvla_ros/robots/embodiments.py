"""The robots that the stack knows."""

from dataclasses import dataclass

from stvla_ros.errors import InputError


@dataclass(frozen=True)
class Embodiment:
    """:param base_frame: base link of the robot's URDF, in which commands are expressed.
    :param control_hz: control steps per second (published evaluation settings of SimplerEnv, arXiv 2405.05941).
    :param sticky_gripper_steps: control steps for which a change of the gripper is held (published evaluation settings
        of DelinQu/SimplerEnv-OpenVLA; Panda: ours).
    :param unnorm_key: key of the robot's action statistics in SpatialVLA's checkpoints; empty where they have none.
    """

    name: str
    base_frame: str
    control_hz: float
    sticky_gripper_steps: int
    unnorm_key: str


EMBODIMENTS = {
    embodiment.name: embodiment
    for embodiment in (
        Embodiment("widowx", "base_link", 5.0, 1, "bridge_orig/1.0.0"),
        Embodiment("google_robot", "link_base", 3.0, 10, "fractal20220817_data/0.1.0"),
        Embodiment("panda", "panda_link0", 5.0, 1, ""),
    )
}


def find_embodiment(name: str) -> Embodiment:
    """:raises InputError: for an unknown name; the message lists what exists."""
    if name not in EMBODIMENTS:
        raise InputError(f"robot: expected one of {', '.join(EMBODIMENTS)}, got {name!r}")
    return EMBODIMENTS[name]
