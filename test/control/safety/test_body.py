"""Where the arm's links may be, and how fast: what the tool point alone does not tell. With the shipped limits."""

import functools
from collections.abc import Sequence

import numpy as np
import pytest
from arms import PERIOD_S, TICK_S, assert_body_within_limits
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.body import Body
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.kinematics import Hull, Skeleton
from stvla_ros.control.safety.limits import Box
from stvla_ros.control.safety.motion import MotionPlanner
from stvla_ros.control.safety.motion_check import MotionCheck
from stvla_ros.control.safety.requests import Setpoint, Verdict
from stvla_ros.control.safety.rules import MotionRefused, MotionRules
from stvla_ros.control.safety.states import State
from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.urdf_arm import UrdfArm

DRIVER = find_embodiment("widowx").driver
ARM = UrdfArm(DRIVER.arm.urdf, DRIVER.arm.joints, DRIVER.arm.tool_frame)
HOME, REST = np.array(DRIVER.home), np.array(DRIVER.rest)
PERIOD_NS = round(PERIOD_S * 1e9)


def limits(mode: str = "reduced", **changed):
    from dataclasses import replace

    return replace(DRIVER.limits.in_mode(mode), **changed)


class Led:
    """A gate with the WidowX at home, and all that comes out of it."""

    def __init__(self, mode: str = "reduced", **changed) -> None:
        self.limits = limits(mode, **changed)
        self.gate = SafetyGate(ARM, self.limits, TICK_S, PERIOD_S, [HOME, REST])
        self.gate.start(HOME, 1.0, 0)
        self.now, self.setpoints = 0, [self.gate.tick()]

    def command(self, way=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0)) -> Verdict:
        self.now += PERIOD_NS
        verdict = self.gate.command(EndEffectorAction(np.array(way), np.array(turn), 1.0), self.now, self.now)
        self.setpoints += [self.gate.tick() for _ in range(round(PERIOD_S / TICK_S))]
        return verdict

    def settle(self) -> Setpoint:
        while self.gate.moving:
            self.setpoints.append(self.gate.tick())
        return self.setpoints[-1]

    def lowest(self, hulls: Sequence[int] | None = None) -> float:
        return self.gate.rules.body.corners(ARM.body_poses(self.settle().position[None]), hulls)[..., 2].min()

    def check(self) -> None:
        self.settle()
        assert_body_within_limits(self.gate.rules, self.setpoints, HOME)


def test_the_fingertips_stop_on_the_table_and_slide_along_it() -> None:
    led = Led()
    verdicts = [led.command((0.0, 0.0, -0.03)) for _ in range(10)]
    assert "table" in verdicts[-1].clipped
    assert 0.0 <= led.lowest() < 0.004
    before = led.settle().tool_pose[1, 3]
    assert led.command((0.0, -0.02, -0.01)).executed
    assert led.settle().tool_pose[1, 3] - before == pytest.approx(-0.02, abs=1e-3)
    led.check()


def test_without_a_table_the_tool_goes_down_to_its_workspace() -> None:
    led = Led(table_height=None)
    for _ in range(10):
        led.command((0.0, 0.0, -0.03))
    assert led.lowest() < -0.01
    assert "no table is guarded (table_height)" in led.gate.rules.remarks


def test_the_forearm_stays_above_the_table_on_a_way_by_joints() -> None:
    rules = MotionRules(ARM, limits(), TICK_S, [HOME, REST])
    # Lying down to the side: the elbow comes first.
    lying = np.array([0.0, 1.9, -0.2, 0.0, 0.0, 0.0])
    with pytest.raises(MotionRefused, match="^table: .* would come below it"):
        MotionPlanner(rules).move(State.at_rest(HOME), lying, in_workspace=False)


def test_a_post_beside_the_forearm_is_not_entered() -> None:
    # Half-way between base and tool, higher than the tool ever is.
    led = Led(forbidden={"post": Box((0.1, 0.05, 0.2), (0.2, 0.15, 0.45))})
    verdicts = [led.command((0.0, 0.03, 0.0)) for _ in range(8)]
    assert any(v.refused.startswith("forbidden box post: ") and "forearm" in v.refused for v in verdicts)
    led.check()


def test_the_arm_does_not_touch_itself() -> None:
    rules = MotionRules(ARM, limits(), TICK_S, [HOME, REST])
    folded = np.array([0.0, -1.6, 1.5, 0.0, 1.9, 0.0])
    assert rules.broken(folded) != []
    with pytest.raises(MotionRefused, match="self-collision: .* and .* would touch"):
        MotionPlanner(rules).move(State.at_rest(HOME), folded, in_workspace=False)


def test_home_and_rest_break_nothing_and_lead_to_each_other() -> None:
    rules = MotionRules(ARM, limits(), TICK_S, [HOME, REST])
    assert [rules.broken(position) for position in (HOME, REST)] == [[], []]
    for start, goal in ((HOME, REST), (REST, HOME)):
        assert MotionPlanner(rules).move(State.at_rest(start), goal, in_workspace=False).states[-1].resting


def test_links_that_touch_at_rest_may_do_so_and_no_deeper() -> None:
    without, known = MotionRules(ARM, limits(), TICK_S), MotionRules(ARM, limits(), TICK_S, [HOME, REST])
    assert without.broken(REST) == ["upper_arm_link and lower_forearm_link would touch"]
    assert known.broken(REST) == [] and "upper_arm_link and lower_forearm_link (1.2 mm)" in known.touching
    assert known.broken(REST + [0.0, 0.0, 0.05, 0.0, 0.0, 0.0]) != []


def test_an_arm_that_starts_below_the_table_may_rise_but_sink_no_lower() -> None:
    led = Led(table_height=0.2)
    fingers = range(7, 9)
    lowest = led.lowest(fingers)
    assert lowest < 0.15
    led.command((0.0, 0.0, -0.02))
    assert led.lowest(fingers) > lowest - 1e-3
    assert led.command((0.0, 0.0, 0.02)).executed
    assert led.lowest(fingers) == pytest.approx(lowest + 0.02, abs=3e-3)


def test_a_pair_that_touches_wherever_the_arm_is_is_left_out_and_named() -> None:
    foot = {"foot": Box((-0.12, -0.1, -0.02), (0.08, 0.1, 0.09))}
    rules = MotionRules(ARM, limits(forbidden=foot), TICK_S, [HOME, REST])
    assert any("shoulder_link and foot" in remark for remark in rules.remarks)
    assert not any("gripper_link and foot" in remark for remark in rules.remarks)


def test_links_leave_the_room_around_the_workspace_only_towards_the_base() -> None:
    led = Led(workspace_allowance=0.02)
    verdicts = [led.command((0.0, 0.0, 0.03)) for _ in range(6)]
    assert any(v.refused.startswith("workspace: ") and "would leave the room around it" in v.refused for v in verdicts)
    led.check()


@pytest.mark.parametrize(("mode", "limit"), [("reduced", 0.25), ("full", 0.35)])
def test_no_point_of_the_arm_is_faster_than_its_mode_allows(mode: str, limit: float) -> None:
    led = Led(mode)
    departure = led.gate.prepare_way()
    led.gate.accept_way(departure, led.gate.plan_way(REST, departure), 0)
    led.settle()
    corners = led.gate.rules.body.corners(ARM.body_poses(np.stack([each.position for each in led.setpoints])))
    speeds = np.linalg.norm(np.diff(corners, axis=0), axis=-1) / TICK_S
    assert 0.8 * limit < speeds.max() <= limit
    led.check()


def test_a_body_of_which_nothing_is_guarded_is_refused() -> None:
    hull = Hull("tool", 1, np.zeros((1, 3)), guessed=True)
    with pytest.raises(InputError, match=r"expected a hull of each moving body, got none of \[2\]"):
        Body(Skeleton((0, 0, 1), 2, np.eye(4), (hull,)), {}, 0.05)


POST = {"post": Box((0.2, 0.12, 0.0), (0.26, 0.18, 0.4))}


@functools.cache
def guarded() -> MotionRules:
    return MotionRules(ARM, limits(forbidden=POST), TICK_S, [HOME, REST])


def drawn(seed: int, count: int, spread: float) -> list[np.ndarray]:
    """Positions that follow each other, somewhere within the joints' limits."""
    rules, random = guarded(), np.random.default_rng(seed)
    start = random.uniform(rules.lower, rules.upper)
    return list(np.clip(start + np.cumsum(random.normal(0.0, spread, (count, 6)), axis=0), rules.lower, rules.upper))


seeds = st.integers(0, 2**32 - 1)


@examples(quick=50)
@given(seed=seeds, in_workspace=st.booleans(), near=st.sampled_from([0.0, 0.05]))
def test_how_far_hulls_are_beyond_the_room_and_below_the_table_is_that_of_their_corners(
    seed, in_workspace, near
) -> None:
    rules = guarded()
    poses = ARM.body_poses(np.array(drawn(seed, 8, 0.3)))
    room, table = rules.excess(rules.body.place(poses), in_workspace, near)
    for hull in range(rules.body.moving):
        corners = rules.body.corners(poses, [hull])
        room_box, below = rules.room, -corners[..., 2].min(axis=1)
        beyond = np.maximum(room_box.low - corners, corners - room_box.high).max(axis=(1, 2))
        for found, exact in ((table[:, hull], below), (room[:, hull], beyond if in_workspace else np.full(8, -1e3))):
            told = np.maximum(found, exact) > -near
            assert found[told] == pytest.approx(exact[told], abs=1e-12)
            assert (found[~told] >= exact[~told] - 1e-12).all()


@examples(quick=50)
@given(seed=seeds, exact_above=st.floats(0.0, 0.2))
def test_a_step_is_as_far_as_a_corner_comes_or_a_bound_of_it_that_is_short_enough(seed, exact_above) -> None:
    body, poses = guarded().body, ARM.body_poses(np.array(drawn(seed, 8, 0.05)))
    ways = body.moves(body.place(poses), np.array([0, 1, 2, 4, 6]), exact_above).ways
    for hull in range(body.moving):
        moves = np.linalg.norm(np.diff(body.corners(poses, [hull]), axis=0), axis=-1).max(axis=1)[[0, 1, 2, 4, 6]]
        assert (ways[:, hull] >= moves - 1e-12).all()
        assert ((ways[:, hull] <= exact_above) | (np.abs(ways[:, hull] - moves) < 1e-12)).all()


def refusal(ways: list[list[State]]) -> str:
    """Of ways that begin in the same position; empty where all are allowed."""
    try:
        return "" if MotionCheck(guarded(), True).check(ways) <= 1.0 else "too fast"
    except MotionRefused as error:
        return str(error)


@examples(quick=50)
@given(seed=seeds, count=st.integers(1, 5), spread=st.sampled_from([0.001, 0.005, 0.05]))
def test_ways_that_are_checked_at_once_are_allowed_where_each_alone_is(seed, count, spread) -> None:
    random = np.random.default_rng(seed)
    start = HOME + random.normal(0.0, 0.25, 6)
    offsets = [np.cumsum(random.normal(0.0, spread, (5, 6)), axis=0) for _ in range(count)]
    ways = [
        [
            State(start + offset - each[0], rate / TICK_S, np.zeros(6))
            for offset, rate in zip(each, np.gradient(each, axis=0))
        ]
        for each in offsets
    ]
    alone = [refusal([way]) for way in ways]
    assert (refusal(ways) == "") == (not any(alone)) and refusal(ways) in ["", *alone]


steps = st.tuples(*[st.sampled_from([0.0, 0.03, -0.03, 0.05, -0.05])] * 3)
turns = st.tuples(*[st.sampled_from([0.0, 0.2, -0.2, 0.35])] * 3)
# A corner is fastest half-way between two ticks: 1.5 % faster than its way from one to the other.
FASTEST_BETWEEN_TICKS = [
    ((0.03, -0.03, -0.05), (-0.2, 0.2, 0.35), 6, False),
    ((0.05, 0.05, 0.05), (0.0, 0.2, 0.35), 4, False),
    ((-0.03, 0.03, 0.03), (0.2, 0.2, 0.0), 5, True),
    ((0.0, -0.03, 0.0), (-0.2, 0.0, 0.0), 1, False),
    ((-0.03, 0.05, 0.0), (0.0, -0.2, 0.0), 1, False),
]


@examples(quick=12)
@given(ways=st.lists(st.tuples(steps, turns, st.integers(1, 6), st.booleans()), max_size=5))
@example(ways=FASTEST_BETWEEN_TICKS)
def test_wherever_commands_lead_no_hull_is_where_it_must_not_be(ways) -> None:
    led = Led("full", forbidden=POST)
    for way, turn, count, stopped in ways:
        for _ in range(count):
            led.command(way, turn)
        if stopped:
            led.gate.inhibit("deadman")
            led.settle()
            led.gate.release("deadman", led.now)
    led.check()
