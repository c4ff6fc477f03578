"""What is known of a simulated task before its simulator starts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One simulated task.

    :param name: name in this package; names of simulators other than ManiSkill start with the simulator's and a slash.
    :param simulator_id: what the simulator calls the task.
    :param robot: name of the embodiment, e.g. ``widowx``, or a YAML file that describes one.
    :param control_hz: control steps per second of simulated time.
    :param max_steps: time limit in control steps.
    :param num_episodes: number of initial configurations; episode ids are 0 .. num_episodes-1.
    :param has_expert: whether the scripted expert can solve it.
    :param instruction: what the policy is told; empty for what the simulator says.
    :param reversed: the scene's two objects change roles: what was the goal is moved onto what was moved.
    :param fixed_start: as in ``EnvironmentInfo``.
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
