"""The simulator bridge's parameters: the episodes, the pacing of time, and the limits of waiting."""

from dataclasses import dataclass

from stvla_ros.control.chunk_execution import PACINGS
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.sim.tasks import check_episodes


@dataclass(frozen=True)
class BridgeParameters:
    """
    :param episodes: number of episodes; 0 for no end.
    :param joint_level: whether the robot's own driver moves the joints.
    :param max_steps: time limit in control steps; 0 for the task's own.
    :param width, height: size of the picture, pixels; 0 for the task's own.
    :param reset_services: names of the services that are called before an episode starts.
    :param resend_s: lockstep: time before an unanswered observation is sent again.
    :param give_up_s: time without any command after which the run ends.
    """

    task: str
    episodes: int
    first_episode: int
    seed: int
    pacing: str
    joint_level: bool
    max_steps: int
    width: int
    height: int
    send_goals: bool
    reset_services: tuple[str, ...]
    resend_s: float
    give_up_s: float

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(width, height) in pixels; None for the task's own."""
        return (self.width, self.height) if self.width else None

    def check(self) -> None:
        """:raises InputError: for values that do not fit each other, or do not fit the task."""
        if bool(self.width) != bool(self.height):
            raise InputError(
                f"parameter image_width, image_height: expected both or none, got {self.width}x{self.height}"
            )
        if self.joint_level and self.pacing != "realtime":
            raise InputError("parameter joint_level: expected pacing realtime, a driver does not wait for a simulator")
        check_episodes(self.task, self.first_episode, self.episodes, "parameter episodes")


def declare_bridge(node: StvlaNode) -> BridgeParameters:
    """Declare the parameters and read them. :raises InputError: naming the bad parameter."""
    services = node.parameter(
        "reset_services", ["tracker/reset"], "services called before an episode starts; [''] for none"
    )
    return BridgeParameters(
        task=node.parameter("task", "stack_cube", "task, see `stvla tasks`"),
        episodes=node.parameter("episodes", 3, "episodes to run; 0 for no end", low=0, high=1_000_000),
        first_episode=node.parameter("first_episode", 0, "episode_id of the first one", low=0, high=1_000_000),
        seed=node.parameter("seed", 0, "seed of the simulator", low=0, high=2**31 - 1),
        pacing=node.parameter("pacing", "lockstep", "how simulated time passes", choices=PACINGS),
        joint_level=node.parameter(
            "joint_level", False, "realtime: the robot's own driver moves the joints, in place of commands the tool"
        ),
        max_steps=node.parameter(
            "max_steps", 0, "time limit in control steps; 0 for the task's own", low=0, high=1_000_000
        ),
        width=node.parameter("image_width", 0, "pixels; 0 for the task's own", low=0, high=8192),
        height=node.parameter("image_height", 0, "pixels; 0 for the task's own", low=0, high=8192),
        send_goals=node.parameter("send_goals", True, "send each episode's instruction to the action server"),
        reset_services=tuple(filter(None, services)),
        resend_s=node.parameter(
            "resend_after",
            10.0,
            "lockstep: seconds before an unanswered observation is sent again",
            low=0.1,
            high=3600.0,
        ),
        give_up_s=node.parameter(
            "give_up_after", 120.0, "seconds without any command after which the run ends", low=1.0, high=86400.0
        ),
    )
