"""What the arm says of itself does not come as it should while it moves: lost, late, in disorder, unread, untrue."""

import copy
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from robot_rig import ARMS, RobotRig, robot_rig
from sensor_msgs.msg import JointState

from stvla_ros.nodes.kit.messages import ns_to_time, stamp_ns

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")
pytestmark = pytest.mark.slow

GOES_ON_S = 3.0
# The timeout of joint states, one control period to stop in, and the arm's own profile.
HOLD_S = 0.25 + 0.2 + 0.1


@pytest.fixture(scope="module", params=ARMS)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RobotRig]:
    with robot_rig(request.param, tmp_path_factory.mktemp("joint_states"), patient=False) as rig:
        yield rig


def lossy() -> Callable[[JointState], list[JointState]]:
    random = np.random.default_rng(0)
    return lambda message: [message] if random.random() < 0.5 else []


def sometimes_unread() -> Callable[[JointState], list[JointState]]:
    """Every third has a servo that could not be read."""
    random = np.random.default_rng(0)

    def fault(message: JointState) -> list[JointState]:
        if random.random() < 1.0 / 3.0:
            message.position[random.integers(len(message.position))] = np.nan
        return [message]

    return fault


def late(seconds: float) -> Callable[[], Callable[[JointState], list[JointState]]]:
    def make() -> Callable[[JointState], list[JointState]]:
        waiting: list[tuple[float, JointState]] = []

        def fault(message: JointState) -> list[JointState]:
            waiting.append((time.monotonic() + seconds, message))
            due = [each for at, each in waiting if at <= time.monotonic()]
            del waiting[: len(due)]
            return due

        return fault

    return make


def disordered() -> Callable[[JointState], list[JointState]]:
    """Five at a time, the newest first."""
    kept: list[JointState] = []

    def fault(message: JointState) -> list[JointState]:
        kept.append(message)
        if len(kept) < 5:
            return []
        found = kept[::-1]
        kept.clear()
        return found

    return fault


GOES_ON = {
    "half of them lost": lossy,
    "every third with a NaN": sometimes_unread,
    "a tenth of a second late": late(0.1),
    "in the wrong order": disordered,
    "each one twice": lambda: lambda message: [message, message],
}


@pytest.mark.parametrize("fault", GOES_ON)
def test_joint_states(rig: RobotRig, fault: str, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: setattr(rig, "joint_fault", GOES_ON[fault]()))
    time.sleep(GOES_ON_S)
    motion = rig.largest_motion()
    rig.until_moving()
    rig.joint_fault = None
    rig.check_limits()
    figures(0.0, motion, "goes on within its limits")


def of_nan(message: JointState) -> list[JointState]:
    message.position = [np.nan] * len(message.position)
    return [message]


def an_hour_behind(message: JointState) -> list[JointState]:
    message.header.stamp = ns_to_time(stamp_ns(message.header) - 3600 * 10**9)
    return [message]


HOLDS = {
    "none at all": lambda: lambda message: [],
    "all NaN": lambda: of_nan,
    "half a second late": late(0.5),
    "a clock an hour behind": lambda: an_hour_behind,
}


@pytest.mark.parametrize("fault", HOLDS)
def test_useless_joint_states(rig: RobotRig, fault: str, figures) -> None:
    rig.until_moving()
    rig.strike(lambda: setattr(rig, "joint_fault", HOLDS[fault]()))
    held = rig.until_holding(5.0)
    motion = rig.largest_motion()
    rig.until_stopped("arm lost")
    assert held < HOLD_S
    time.sleep(1.0)
    assert rig.last_motion() == held
    rig.joint_fault = None
    rig.resume()
    rig.until_moving()
    rig.check_limits()
    figures(held, motion, "moves again after a reset and a new instruction")


def test_the_same_joint_state_for_ever(rig: RobotRig, figures) -> None:
    """Encoders that hang look like an arm that does not follow: held until a person says otherwise."""
    rig.until_moving()
    hanging: list[JointState] = []

    def fault(message: JointState) -> list[JointState]:
        hanging[:] = hanging or [copy.deepcopy(message)]
        hanging[0].header = message.header
        return [hanging[0]]

    rig.strike(lambda: setattr(rig, "joint_fault", fault))
    rig.graph.until(lambda: "tracking" in rig.states[-1].held_by, "the hold")
    held = rig.until_holding(5.0)
    motion = rig.largest_motion()
    rig.joint_fault = None
    time.sleep(1.0)
    assert rig.last_motion() == held
    rig.resume()
    rig.until_moving()
    # An arm that is told velocities, and does not say where it is, may be some millimetres from its setpoint.
    rig.check_limits(links=rig.kind is not ARMS["moveit_servo"])
    figures(held, motion, "moves again after a reset and a new instruction")
