"""The worker process and its protocol, with a small deterministic environment and real processes."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment, EnvironmentInfo, Observation, StepResult
from stvla_ros.sim.remote import protocol
from stvla_ros.sim.remote.client import WorkerEnvironment, WorkerError


class PointRobot(Environment):
    """A tool point that goes where it is told; instructions ask for trouble."""

    def __init__(self, width: int = 8) -> None:
        self.info = EnvironmentInfo("point", "point", 5.0, 60, 3, "base", "camera", Path("/robots/point.urdf"))
        self._width = width
        self._pose = np.eye(4)
        self._gripper = 1.0
        self._instruction = "go"

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        if not 0 <= episode_id < 3:
            raise InputError(f"episode_id: expected 0..2, got {episode_id}")
        random = np.random.default_rng([episode_id, seed])
        self._pose = np.eye(4)
        self._pose[:3, 3] = random.normal(size=3)
        self._instruction = f"go to place {episode_id}"
        return self._observation()

    def reset_random(self, seed: int) -> Observation:
        return self.reset(seed % 3, seed)

    def goal_conditions(self) -> dict[str, bool]:
        return {"closed": self._gripper == 0.0, "low": bool(self._pose[2, 3] < 0)}

    def scene_points(self) -> np.ndarray | None:
        return None if self._gripper == 1.0 else self._pose[:3, :3] + self._pose[:3, 3]

    def step(self, action: EndEffectorAction) -> StepResult:
        self._pose[:3, 3] += action.translation
        self._gripper = action.gripper
        if action.gripper == 0.125:
            raise ValueError("the point\nis stuck")
        if action.gripper == 0.25:
            os._exit(3)
        if action.gripper == 0.5:  # native code that never comes back and never lets Python run
            ctypes.PyDLL(None).sleep(60)
        return StepResult(self._observation(), bool(self._pose[2, 3] < 0))

    @property
    def instruction(self) -> str:
        return self._instruction

    def expert_action(self) -> EndEffectorAction | None:
        return None if self._gripper == 1.0 else EndEffectorAction(-self._pose[:3, 3], np.zeros(3), self._gripper)

    def close(self) -> None:
        if "POINT_ROBOT_CLOSED" in os.environ:
            Path(os.environ["POINT_ROBOT_CLOSED"]).touch()

    def _observation(self) -> Observation:
        rgb = np.arange(self._width * 18, dtype=np.uint32).reshape(6, self._width, 3).astype(np.uint8)
        return Observation(
            rgb=rgb,
            depth=np.full(rgb.shape[:2], self._pose[0, 3], np.float32),
            intrinsics=np.array([[np.pi, 0.0, 1 / 3], [0.0, np.e, 0.1], [0.0, 0.0, 1.0]]),
            base_from_camera=np.eye(4),
            base_from_gripper=self._pose.copy(),
            joint_names=("x", "y", "z"),
            joint_positions=self._pose[:3, 3].copy(),
            gripper=self._gripper,
            base_from_link={"base": np.eye(4), "tool": self._pose.copy()},
        )


def refusing() -> Environment:
    raise InputError("asset table.glb is missing")


FILE = Path(__file__)
MOVE = EndEffectorAction(np.array([0.1, 0.0, -0.2]), np.array([0.0, 0.0, 0.3]), 0.75)


def start(function: str = "PointRobot", **options) -> WorkerEnvironment:
    arguments = options.pop("arguments", {})
    return WorkerEnvironment(Path(sys.executable), f"{FILE}:{function}", arguments, name="point", **options)


@pytest.fixture(scope="module")
def worker():
    environment = start()
    yield environment
    environment.close()


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def assert_same(one: Observation, other: Observation) -> None:
    np.testing.assert_equal(protocol.observation_to_message(one), protocol.observation_to_message(other))
    for name, value in vars(one).items():
        assert type(value) is type(getattr(other, name)), name
        if isinstance(value, np.ndarray):
            assert value.dtype == getattr(other, name).dtype, name


def test_a_worker_gives_exactly_what_the_environment_gives(worker) -> None:
    local = PointRobot()
    assert worker.info == local.info
    assert_same(worker.reset(1, seed=7), local.reset(1, seed=7))
    assert worker.instruction == local.instruction == "go to place 1"
    for _ in range(3):
        remote_result, local_result = worker.step(MOVE), local.step(MOVE)
        assert_same(remote_result.observation, local_result.observation)
        assert remote_result.success is local_result.success


def test_expert_actions_travel_and_none_stays_none(worker) -> None:
    local = PointRobot()
    for environment in (worker, local):
        environment.reset(0)
    worker.step(EndEffectorAction.hold(1.0))
    assert worker.expert_action() is None
    worker.step(MOVE), local.step(MOVE)
    np.testing.assert_array_equal(worker.expert_action().translation, local.expert_action().translation)


def test_random_placements_travel_and_half_a_table_is_refused_where_there_is_none(worker) -> None:
    local = PointRobot()
    worker.step(MOVE), local.step(MOVE)
    assert_same(worker.reset_random(8), local.reset_random(8))
    with pytest.raises(InputError, match="^half: expected none, task point has no halves of the table$"):
        worker.reset_random(8, "left")


def test_what_the_simulator_knows_of_the_goal_and_the_scene_travels(worker) -> None:
    local = PointRobot()
    for environment in (worker, local):
        environment.reset(1)
        environment.step(EndEffectorAction.hold(1.0))
    assert worker.scene_points() is None
    worker.step(MOVE), local.step(MOVE)
    np.testing.assert_array_equal(worker.scene_points(), local.scene_points())
    assert worker.goal_conditions() == local.goal_conditions() and len(local.goal_conditions()) == 2


def test_arguments_reach_the_factory() -> None:
    environment = start(arguments={"width": 3})
    try:
        assert environment.reset(0).rgb.shape == (6, 3, 3)
    finally:
        environment.close()


def test_an_input_error_comes_back_as_one_and_the_worker_lives_on(worker) -> None:
    with pytest.raises(InputError, match=r"^episode_id: expected 0\.\.2, got 9$"):
        worker.reset(9)
    assert worker.reset(2).rgb.shape == (6, 8, 3)


def test_another_error_keeps_its_type_and_its_message_on_one_line(worker) -> None:
    worker.reset(0)
    with pytest.raises(ValueError, match="^the point is stuck$") as caught:
        worker.step(EndEffectorAction.hold(0.125))
    assert not isinstance(caught.value, InputError)
    assert worker.step(MOVE).observation.gripper == 0.75


def test_an_error_while_the_environment_is_made_is_raised_and_leaves_no_process() -> None:
    children = _children()
    with pytest.raises(InputError, match=r"^asset table\.glb is missing$"):
        start("refusing")
    assert _children() == children


def test_an_interpreter_that_cannot_start_is_an_input_error_that_names_it(tmp_path) -> None:
    broken = tmp_path / "python"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(InputError, match=f"^interpreter {broken} of worker point: "):
        WorkerEnvironment(broken, f"{FILE}:PointRobot", {}, name="point")


def test_a_worker_that_dies_is_one_error_that_names_it_now_and_later() -> None:
    environment = start()
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"^worker point \(pid \d+\) ended with exit status 3; ") as caught:
            environment.step(EndEffectorAction.hold(0.25))
        assert "\n" not in str(caught.value)


def test_a_killed_worker_is_an_error_that_names_the_signal() -> None:
    environment = start()
    os.kill(environment.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="worker point .* was killed by SIGKILL"):
        environment.reset(0)


def test_a_worker_that_hangs_is_an_error_after_the_time_limit_and_is_ended() -> None:
    environment = start(timeout_s=0.5)
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"worker point \(pid \d+\) did not answer within 0\.5 s"):
        environment.step(EndEffectorAction.hold(0.5))
    assert time.monotonic() - began < 30.0
    wait_until_gone(environment.pid)


def test_close_lets_the_environment_close_and_ends_the_process_and_may_be_repeated(tmp_path) -> None:
    environment = start(variables={"POINT_ROBOT_CLOSED": str(tmp_path / "closed")})
    environment.close()
    environment.close()
    wait_until_gone(environment.pid)
    assert (tmp_path / "closed").exists()
    with pytest.raises(WorkerError, match="^worker point is closed$"):
        environment.reset(0)


@pytest.mark.parametrize("doing", ["waiting", "stuck in native code"])
def test_the_worker_ends_when_its_client_is_killed(doing) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(FILE), doing], stdout=subprocess.PIPE, text=True, cwd=FILE.parents[2]
    )
    try:
        worker_pid = int(client.stdout.readline())
        if doing != "waiting":
            time.sleep(0.3)  # until the step has begun
        assert is_running(worker_pid)
    finally:
        client.kill()
        client.wait()
    wait_until_gone(worker_pid)


CLIENT = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from stvla_ros.control.actions import EndEffectorAction
    from stvla_ros.sim.remote.client import WorkerEnvironment
    environment = WorkerEnvironment(Path(sys.executable), sys.argv[1] + ":PointRobot", {}, name="point")
    print(environment.pid, flush=True)
    if sys.argv[2] != "waiting":
        environment.step(EndEffectorAction.hold(0.5))
    time.sleep(60)
    """
)


def test_the_worker_outlives_the_thread_that_started_it() -> None:
    started = []
    thread = threading.Thread(target=lambda: started.append(start()))
    thread.start()
    thread.join()
    try:
        assert started[0].reset(0).gripper == 1.0
    finally:
        started[0].close()


def test_the_worker_leaves_an_interrupt_to_its_client(worker) -> None:
    os.kill(worker.pid, signal.SIGINT)
    time.sleep(0.1)
    assert worker.reset(0).rgb.shape == (6, 8, 3)


def _children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
