"""`stvla do|stop|reset|home|rest`, against a node that serves what a driver and the action server serve."""

import threading
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from stvla_ros.action import ExecuteInstruction
from stvla_ros.errors import InputError
from stvla_ros.nodes import operator
from stvla_ros.nodes.operator import DoArguments, HomeArguments, ResetArguments, RestArguments, StopArguments


class _Robot:
    """Serves as a driver does, and takes goals."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = Node("robot", context=self.context)
        self.called: list[str] = []
        self.goals: list[str] = []
        self.accepts, self.refusal = True, ""
        for name in names:
            for service in ("estop", "reset", "home", "rest"):
                self.node.create_service(Trigger, f"{name}/{service}", self._answer(f"{name}/{service}"))
        self.node.create_service(Trigger, "/tracker/reset", self._answer("/tracker/reset"))
        self._server = ActionServer(
            self.node,
            ExecuteInstruction,
            "execute_instruction",
            self._execute,
            goal_callback=lambda goal: GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )
        self._executor = MultiThreadedExecutor(2, context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _answer(self, name: str):
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self.called.append(name)
            response.success, response.message = not self.refusal, self.refusal or "done"
            return response

        return answer

    def _execute(self, handle) -> ExecuteInstruction.Result:
        self.goals.append((handle.request.instruction, handle.request.time_limit.sec))
        handle.succeed()
        outcome = ExecuteInstruction.Result.FAULT if self.refusal else ExecuteInstruction.Result.TIME_LIMIT
        return ExecuteInstruction.Result(outcome=outcome, reason="time limit reached", steps=7, refused=1)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self._server.destroy()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def robot() -> Iterator[_Robot]:
    made = _Robot(("/widowx_driver",))
    yield made
    made.close()


def test_each_verb_reaches_the_driver_and_nothing_else(robot: _Robot) -> None:
    assert operator.stop(StopArguments()) == 0
    assert operator.reset(ResetArguments()) == 0
    assert operator.home(HomeArguments()) == 0
    assert operator.rest(RestArguments()) == 0
    assert robot.called == [f"/widowx_driver/{verb}" for verb in ("estop", "reset", "home", "rest")]


def test_what_a_driver_refuses_is_told(robot: _Robot, capsys: pytest.CaptureFixture[str]) -> None:
    robot.refusal = "still stopping: the topic estop"
    assert operator.reset(ResetArguments()) == 1
    assert "/widowx_driver/reset: still stopping: the topic estop" in capsys.readouterr().err


def test_an_instruction_is_given_and_its_end_told(robot: _Robot, capsys: pytest.CaptureFixture[str]) -> None:
    assert operator.do(DoArguments("put the spoon on the towel", time_limit=20.0)) == 0
    assert robot.goals == [("put the spoon on the towel", 20)]
    assert capsys.readouterr().out == "time limit reached; 7 steps, 0 clipped, 1 refused\n"
    robot.refusal = "fault"
    assert operator.do(DoArguments("again")) == 1
    robot.accepts = False
    with pytest.raises(InputError, match="the goal was rejected"):
        operator.do(DoArguments("again"))


def test_all_robots_stop_and_only_one_is_moved() -> None:
    robots = _Robot(("/left/driver", "/right/driver"))
    try:
        assert operator.stop(StopArguments()) == 0
        assert sorted(robots.called) == ["/left/driver/estop", "/right/driver/estop"]
        with pytest.raises(
            InputError, match="^namespace: expected the namespace of one of the robots: /left/driver, /"
        ):
            operator.home(HomeArguments())
        assert operator.home(HomeArguments("/right")) == 0
        assert robots.called[-1] == "/right/driver/home"
    finally:
        robots.close()


def test_nobody_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "FOUND_WITHIN_S", 0.5)
    with pytest.raises(InputError, match="no robot's driver answers: expected a running graph"):
        operator.stop(StopArguments())
    with pytest.raises(InputError, match="action execute_instruction: nobody serves it"):
        operator.do(DoArguments("go"))


@pytest.mark.parametrize(
    ("arguments", "said"), [(DoArguments(" "), "instruction: "), (DoArguments("go", 0.0, "left"), "namespace: ")]
)
def test_bad_words_are_refused_before_anything_is_asked(arguments: DoArguments, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        operator.do(arguments)
