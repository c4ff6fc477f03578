"""Facts about a simulated task that are known before its simulator starts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One simulated task.

    :param name: name in this package; for simulators other than ManiSkill it begins with the simulator's name and a
        slash.
    :param simulator_id: name of the task in the simulator.
    :param robot: name of the embodiment, e.g. ``widowx``, or a YAML file that describes one.
    :param control_hz: control steps per second of simulated time.
    :param max_steps: time limit in control steps.
    :param num_episodes: number of initial configurations; episode ids are 0 .. num_episodes-1.
    :param has_expert: whether the scripted expert can solve it.
    :param instruction: instruction of the policy; empty for the simulator's own.
    :param reversed: whether the scene's two objects change roles: the goal object is moved onto the other one.
    :param fixed_start: whether the arm begins where the simulator puts it, see ``EnvironmentInfo``.
    """

    name: str
    simulator_id: str
    robot: str
    control_hz: float
    max_steps: int
    num_episodes: int
    has_expert: bool = True
    instruction: str = ""
    reversed: bool = False
    fixed_start: bool = False
