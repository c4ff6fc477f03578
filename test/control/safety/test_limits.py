"""Boxes, joint limits, and how long a stop takes."""

import dataclasses

import numpy as np
import pytest
import ruckig
from arms import widowx_limits
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.ceilings import ceiling, ceilings, check_ceilings
from stvla_ros.control.safety.limits import Box, JointLimits, SafetyLimits
from stvla_ros.errors import InputError

unit = st.floats(0.0, 1.0)


@pytest.mark.parametrize(("low", "high"), [((0, 0, 0), (1, 1, 0)), ((0, 0), (1, 1)), ((0, 0, float("nan")), (1, 1, 1))])
def test_what_is_no_box_is_refused(low: tuple, high: tuple) -> None:
    with pytest.raises(InputError, match="expected low < high"):
        Box(low, high)


def test_a_point_is_outside_or_inside_by_its_distance_to_the_nearest_face() -> None:
    box = Box((0, 0, 0), (1, 2, 3))
    points = np.array([[0.5, 1.0, 1.4], [1.2, 1.0, 1.0], [-0.1, 2.3, 1.0], [1.0, 1.0, 1.0]])
    assert box.outside(points) == pytest.approx([0.0, 0.2, 0.3, 0.0])
    assert box.inside(points) == pytest.approx([0.5, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("changed", [{"lower": 1.0}, {"velocity": 0.0}, {"jerk": -1.0}, {"acceleration": float("nan")}])
def test_limits_without_motion_are_refused(changed: dict) -> None:
    with pytest.raises(InputError, match="expected"):
        JointLimits(**{"lower": -1.0, "upper": 1.0, "velocity": 1.0, "acceleration": 1.0, "jerk": 1.0, **changed})


def numbers_of(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.type in (int, float, "int", "float")]


LIMITS = widowx_limits()
OWNERS = {SafetyLimits: LIMITS, JointLimits: LIMITS.joints["waist"]}
ALL = [(kind, name) for kind in OWNERS for name in numbers_of(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL)
@examples(quick=100)
@given(value=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e5, 10**400]) | st.floats(min_value=1e5))
def test_no_number_is_boundless(kind: type, name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        dataclasses.replace(OWNERS[kind], **{name: value})


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_number_may_be_as_high_as_its_ceiling_and_no_higher(kind: type, name: str) -> None:
    high = ceilings(kind)[name].high
    if name != "lower":  # below upper, then
        dataclasses.replace(OWNERS[kind], **{name: high, **({} if kind is JointLimits else {"joint_margin": 0.0})})
    with pytest.raises(InputError, match=f"{name}: expected"):
        dataclasses.replace(OWNERS[kind], **{name: np.nextafter(high, np.inf)})


def test_a_number_that_is_declared_without_a_ceiling_is_no_limit() -> None:
    @dataclasses.dataclass
    class Forgotten:
        speed: float = ceiling(1.0, high=2.0, why="a test")
        force: float = 3.0

    with pytest.raises(TypeError, match=r"Forgotten\.force: expected a ceiling"):
        check_ceilings(Forgotten())


@examples(quick=100)
@given(
    velocity=st.floats(0.1, 3.0),
    acceleration=st.floats(1.0, 40.0),
    jerk=st.floats(20.0, 2000.0),
    speed=unit,
    push=unit,
    sign=st.sampled_from([1.0, -1.0]),
)
def test_no_stop_takes_longer_than_the_longest(velocity, acceleration, jerk, speed, push, sign) -> None:
    limits = JointLimits(-9.0, 9.0, velocity, acceleration, jerk)
    # An acceleration from which the speed still stays within its limit, as every trajectory under the limits keeps to.
    pushed = push * min(acceleration, np.sqrt(2.0 * jerk * velocity))
    speed *= velocity - pushed**2 / (2.0 * jerk)
    generator, wanted, trajectory = ruckig.Ruckig(1), ruckig.InputParameter(1), ruckig.Trajectory(1)
    wanted.control_interface = ruckig.ControlInterface.Velocity
    wanted.current_position, wanted.target_velocity, wanted.target_acceleration = [0.0], [0.0], [0.0]
    wanted.current_velocity, wanted.current_acceleration = [sign * speed], [sign * pushed]
    wanted.max_velocity, wanted.max_acceleration, wanted.max_jerk = [velocity], [acceleration], [jerk]
    assert generator.calculate(wanted, trajectory) == ruckig.Result.Working
    assert trajectory.duration <= limits.longest_stop_s + 1e-6


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lower": -1.2}, r"joints.a.lower -1.2 \(URDF -1\)"),
        ({"upper": 1.2}, r"joints.a.upper 1.2 \(URDF 1\)"),
        ({"velocity": 3.0}, r"joints.a.velocity 3 \(URDF 2\)"),
    ],
)
def test_limits_that_are_wider_than_the_urdfs_are_refused(given: dict, told: str) -> None:
    usual = {"lower": -1.0, "upper": 1.0, "velocity": 2.0, "acceleration": 50.0, "jerk": 3000.0}
    urdf = ("a",), np.array([-1.0]), np.array([1.0]), np.array([2.0])
    box = Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    SafetyLimits({"a": JointLimits(**usual)}, box).check_urdf(*urdf)
    with pytest.raises(InputError, match=f"limits: expected none wider than the URDF's, got {told}"):
        SafetyLimits({"a": JointLimits(**usual | given)}, box).check_urdf(*urdf)


@pytest.mark.parametrize("height", [float("nan"), float("inf"), 3.0, -3.0])
def test_a_table_is_at_a_height_that_can_be(height: float) -> None:
    assert widowx_limits(table_height=None).table_height is None
    with pytest.raises(InputError, match="table_height: expected -2 to 2"):
        widowx_limits(table_height=height)


def test_the_reduced_mode_lowers_the_speed_of_a_robots_file_and_never_raises_it() -> None:
    assert [widowx_limits(speed=speed).in_mode("reduced").speed for speed in (0.1, 0.35)] == [0.1, 0.25]
    assert widowx_limits(speed=0.35).in_mode("full").speed == 0.35
