"""What the action server keeps from one answer, goal and activation to the next: nothing that moves the robot."""

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace

import numpy as np
import pytest
from any_message import wire
from command_goals import verdict_on
from rclpy.lifecycle import TransitionCallbackReturn
from scipy.spatial.transform import Rotation
from server_bench import Server, served

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.command_identity import CommandIdentity
from stvla_ros.control.displacement import Displacement
from stvla_ros.errors import DeviceLost
from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.lifecycle import DEVICE_LOST
from stvla_ros.nodes.kit.messages import (
    make_chunk,
    make_header,
    stamp_ns,
)
from stvla_ros.nodes.kit.verdicts import tell_moved
from stvla_ros.policy.baselines import ExpertPolicy
from stvla_ros.robots.embodiments import find_embodiment

PERIOD_S = 0.2
PROPOSAL = CommandIdentity("widowx")
RGB, TRACED = np.zeros((120, 160, 3), np.uint8), np.full((224, 224), 0.8, np.float32)


def start(*parameters: str) -> AbstractContextManager[Server]:
    given = ("policy:=expert", f"control_hz:={1.0 / PERIOD_S}", "max_observation_age:=0.0", "allow_preemption:=true")
    return served(*given, *parameters)


def goal(server: Server, instruction: str = "stack the cubes") -> None:
    server.goal(ExecuteInstruction.Goal(instruction=instruction))


def observe(server: Server, actions: int = 4, gripper: float = 1.0, metres: float = 1.0) -> int:
    """An observation now, and the expert's answer to it: action i moves by i times ``metres``. :returns: its stamp."""
    stamp = see(server)
    answer(server, stamp, actions, gripper, metres)
    return stamp


def see(server: Server) -> int:
    """An observation now. :returns: its stamp."""
    return server.observe(RGB, TRACED, "traced_depth")


def answer(server: Server, stamp: int, actions: int = 4, gripper: float = 1.0, metres: float = 1.0) -> None:
    """The expert's, to the observation with this stamp."""
    said = [EndEffectorAction(np.array([i * metres, 0.0, 0.0]), np.zeros(3), gripper) for i in range(actions)]
    chunk = make_chunk(said, "expert", PERIOD_S, make_header(stamp, "camera"), PROPOSAL)
    server.bench.receive("expert_chunk", wire(chunk))


def commands(server: Server) -> list[EndEffectorCommand]:
    return server.bench.sent("command")


def test_a_chunk_is_executed_step_by_step() -> None:
    with start("pacing:=realtime", "execution:=chunk") as server:
        goal(server)
        stamp = observe(server)
        for _ in range(6):
            server.ring(PERIOD_S)
        assert [command.translation.x for command in commands(server)] == [0.0, 1.0, 2.0, 3.0]
        assert {stamp_ns(command.header) for command in commands(server)} == {stamp}


def test_when_the_policy_refuses_an_observation_the_running_chunk_is_given_up() -> None:
    with start("pacing:=realtime", "execution:=ensemble") as server:
        goal(server)
        observe(server)
        server.ring(0.0)
        assert len(commands(server)) == 1
        server.now_ns += round(1.1 * PERIOD_S * 1e9)
        observe(server, actions=0)  # the expert has no answer, which the policy refuses
        before = len(commands(server))
        for _ in range(4):
            server.ring(PERIOD_S)
        assert len(commands(server)) == before <= 2


def test_an_observation_from_before_a_deactivation_is_not_acted_on() -> None:
    with start("pacing:=lockstep", "execution:=receding") as server:
        observe(server)  # nobody has asked for anything yet: it waits
        assert server.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
        assert server.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
        goal(server)
        assert not commands(server)
        server.now_ns += 10**9
        stamp = observe(server)
        assert [stamp_ns(command.header) for command in commands(server)] == [stamp]


def test_an_answer_after_a_reactivation_to_an_observation_from_before_is_not_acted_on() -> None:
    with start("pacing:=lockstep", "execution:=receding") as server:
        stamp = see(server)
        assert server.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
        assert server.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
        goal(server)
        answer(server, stamp)
        assert not commands(server)


def test_a_goal_hears_nothing_of_the_drivers_answers_to_the_one_before() -> None:
    with start("pacing:=lockstep", "execution:=receding") as server:
        goal(server, "first")
        observe(server)
        refusal = verdict_on(commands(server)[-1], clipped=["workspace"], refused="held: estop")
        server.bench.receive("command_verdict", wire(refusal))
        server.now_ns += 10**9
        observe(server)
        assert (server.feedback[-1].refused, list(server.feedback[-1].clipped)) == ("held: estop", ["workspace"])
        goal(server, "second")
        server.now_ns += 10**9
        observe(server)
        assert (server.feedback[-1].step, server.feedback[-1].refused) == (1, "")
        assert list(server.feedback[-1].clipped) == []


@pytest.mark.parametrize("execution", ["receding", "ensemble"])
def test_a_goal_does_not_go_on_with_the_gripper_or_the_chunks_of_the_one_before(execution: str) -> None:
    with start("pacing:=lockstep", f"execution:={execution}", "sticky_gripper:=5") as server:
        goal(server, "first")
        for opening in (1.0, 1.0, 0.0):
            server.now_ns += 10**9
            observe(server, gripper=opening)
        assert commands(server)[-1].gripper < 0.5, "closed, and held so for five steps"
        goal(server, "second")
        server.now_ns += 10**9
        observe(server, gripper=1.0)
        assert commands(server)[-1].gripper == 1.0
        assert commands(server)[-1].translation.x == 0.0, "the first action alone, no mean with older chunks"


def test_a_goal_need_not_wait_until_the_policy_would_have_thought_again_for_the_one_before() -> None:
    with start("pacing:=realtime", "execution:=receding") as server:
        for instruction in ("first", "second"):
            goal(server, instruction)
            server.now_ns += round(0.1 * PERIOD_S * 1e9)
            stamp = observe(server)
            assert stamp_ns(server.bench.sent("action_chunk")[-1].header) == stamp


def test_after_a_cancel_nothing_of_the_chunk_leaves() -> None:
    with start("pacing:=realtime", "execution:=chunk") as server:
        goal(server)
        observe(server, actions=20)
        server.ring(PERIOD_S)
        count = len(commands(server))
        assert count >= 1
        server.node._goals.end(server.node._goals.current, ExecuteInstruction.Result.STOPPED, "cancelled")
        for _ in range(4):
            server.ring(PERIOD_S)
        assert len(commands(server)) == count


def test_in_lockstep_a_running_chunk_answers_without_the_policy() -> None:
    with start("pacing:=lockstep", "execution:=chunk") as server:
        goal(server)
        stamps = []
        for _ in range(6):
            server.now_ns += 10**9
            stamps.append(observe(server))
        assert [stamp_ns(command.header) for command in commands(server)] == stamps
        assert [command.translation.x for command in commands(server)] == [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]
        assert [stamp_ns(chunk.header) for chunk in server.bench.sent("action_chunk")] == [stamps[0], stamps[4]]


@pytest.mark.parametrize(("most", "said"), [(4, True), (5, False), (0, False)])
def test_a_chunk_that_is_longer_than_the_driver_takes_is_told(most: int, said: bool) -> None:
    told = []
    with start(f"commands_per_observation:={most}") as server:
        server.node.get_logger = lambda: SimpleNamespace(warning=lambda text, once: told.append((text, once)))
        goal(server)
        observe(server, actions=5)
        server.ring(PERIOD_S)
        assert commands(server)
    wanted = "policy: 5 actions in a chunk, the driver executes at most 4 commands from one observation"
    assert [once for text, once in told if text.startswith(wanted)] == [True] * said


def test_after_the_cleanup_the_policy_is_gone() -> None:
    with start("pacing:=lockstep", "execution:=receding") as server:
        goal(server)
        observe(server)
        policy = weakref.ref(server.node._policy)
        assert server.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
        assert server.node.on_cleanup(None) == TransitionCallbackReturn.SUCCESS
        assert policy() is None


def test_a_lost_device_ends_the_goal_and_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(self, observation):
        raise DeviceLost("inference on cuda: CUDA is lost for this process")

    monkeypatch.setattr(ExpertPolicy, "predict", lost)
    with start("pacing:=lockstep", "execution:=receding") as server:
        goal(server)
        with pytest.raises(DeviceLost) as raised:
            observe(server)
        server.tell_results()
        assert not server.running
        type(server.node).survive(server.node, raised.value)  # where a worker's errors go; the bench's own raises them
        assert server.node.exit_code == DEVICE_LOST


@pytest.fixture
def anchored() -> Iterator[Server]:
    """One that was given a chunk of 0, 1, 2 and 3 cm, of which the first two commands left."""
    with start("pacing:=realtime", "execution:=anchored") as server:
        goal(server)
        observe(server, metres=0.01)
        into_the_step(server)
        server.ring(PERIOD_S)
        assert travelled(server) == pytest.approx([0.0, 0.01])
        yield server


def into_the_step(server: Server) -> None:
    """Commands leave neither at the beginning nor at the end of a control step."""
    server.ring(0.25 * PERIOD_S)


def travelled(server: Server) -> list[float]:
    return [command.translation.x for command in commands(server)]


def judge(server: Server, command: EndEffectorCommand, moved: float, **verdict: object) -> None:
    """The driver's verdict: by how many metres the command moved the target."""
    message = verdict_on(command, **verdict)
    tell_moved(message, Displacement(np.array([moved, 0.0, 0.0]), Rotation.identity()), server.now_ns)
    server.bench.receive("command_verdict", wire(message))


def test_an_anchored_command_makes_up_for_one_that_the_driver_refused(anchored: Server) -> None:
    first, second = commands(anchored)
    judge(anchored, first, 0.0, executed=True)
    judge(anchored, second, 0.0, executed=False, refused="held: deadman")
    anchored.ring(PERIOD_S)
    assert travelled(anchored)[-1] == pytest.approx(0.02 + 0.01)


def test_an_anchored_command_makes_up_for_what_a_limit_took_away(anchored: Server) -> None:
    first, second = commands(anchored)
    judge(anchored, first, 0.0, executed=True)
    judge(anchored, second, 0.004, executed=True, clipped=["workspace"])
    anchored.ring(PERIOD_S)
    assert travelled(anchored)[-1] == pytest.approx(0.02 + 0.006)


def test_an_anchored_command_relies_on_what_was_sent_while_nobody_tells(anchored: Server) -> None:
    anchored.ring(PERIOD_S)
    assert travelled(anchored)[-1] == pytest.approx(0.02)


@pytest.mark.parametrize("moved", [float("nan"), float("inf"), 1e300])
def test_a_verdict_of_impossible_numbers_is_an_error_and_changes_nothing(moved: float, anchored: Server) -> None:
    for command in commands(anchored):
        judge(anchored, command, moved, executed=True)
    anchored.ring(PERIOD_S)
    assert travelled(anchored)[-1] == pytest.approx(0.02)
    assert "command_verdict" in anchored.node.stage.recent_error()


def test_no_anchored_command_is_longer_than_the_robots_limit() -> None:
    with start("pacing:=realtime", "execution:=anchored") as server:
        goal(server)
        observe(server)
        into_the_step(server)
        for _ in range(2):
            server.ring(PERIOD_S)
        most = find_embodiment("widowx").caps.translation
        assert travelled(server) == pytest.approx([0.0, most, most])


def test_figures_tell_of_late_chunks_skipped_actions_and_holds() -> None:
    with start("pacing:=realtime", "execution:=anchored") as server:
        goal(server)
        for _ in range(2):
            observe(server, metres=0.01)
            into_the_step(server)
            for _ in range(7):
                server.ring(PERIOD_S)
            server.ring(0.75 * PERIOD_S)
        figures = server.node.extra_diagnostics()
        assert figures["holds"] == 4, "a chunk of four actions for eight steps, then the next one"
        assert figures["late_chunks"] == figures["skipped_actions"] == 0
        assert figures["holds_per_minute"] > 0
