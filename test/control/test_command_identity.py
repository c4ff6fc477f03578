"""Which commands are a robot's own: its name, and the newest goal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.command_identity import NO_GOAL, CommandIdentity, GoalUnderWay

NOW = 1_700_000_000 * 10**9
FIRST, SECOND = CommandIdentity("widowx", b"1" * 16, NOW - 20), CommandIdentity("widowx", b"2" * 16, NOW - 10)


def refused(goals: GoalUnderWay, command: CommandIdentity, now_ns: int = NOW) -> str:
    """Of whom or what the refusal speaks; empty for none."""
    return goals.refusal(command, now_ns).partition(":")[0]


@pytest.mark.parametrize("robot", ["", "google_robot", "WidowX", "widowx "])
def test_a_command_for_another_robot_or_none_is_refused_with_both_names(robot: str) -> None:
    text = GoalUnderWay("widowx").refusal(CommandIdentity(robot, b"1" * 16, NOW), NOW)
    assert text.startswith("robot: expected a command for 'widowx', got one for ")
    assert text.endswith(f"robot {robot!r}" if robot else "no robot")


@pytest.mark.parametrize("goal", [(NO_GOAL, NOW), (b"1" * 16, 0), (b"1" * 16, -5), (NO_GOAL, 0)])
def test_a_command_of_no_goal_is_refused(goal: tuple[bytes, int]) -> None:
    text = GoalUnderWay("widowx").refusal(CommandIdentity("widowx", *goal), NOW)
    assert text == "goal: expected goal_id and goal_stamp of a goal of execute_instruction, got none"


def test_a_newer_goal_takes_over_and_the_one_before_is_over_for_good() -> None:
    goals = GoalUnderWay("widowx")
    assert [refused(goals, each) for each in (FIRST, FIRST, SECOND, SECOND)] == [""] * 4
    assert "is over" in goals.refusal(FIRST, NOW)
    assert refused(goals, SECOND) == ""


def test_an_older_goal_is_refused_while_another_is_under_way() -> None:
    goals = GoalUnderWay("widowx")
    assert refused(goals, SECOND) == ""
    assert "got an older one" in goals.refusal(FIRST, NOW)
    assert "got an older one" in goals.refusal(CommandIdentity("widowx", b"3" * 16, SECOND.goal_stamp), NOW)
    assert refused(goals, SECOND) == ""


def test_one_goal_has_one_stamp() -> None:
    goals = GoalUnderWay("widowx")
    assert refused(goals, FIRST) == ""
    assert refused(goals, CommandIdentity("widowx", FIRST.goal_id, FIRST.goal_stamp + 5)) == "goal"
    assert refused(goals, FIRST) == ""


def test_a_goal_from_the_future_is_refused_and_takes_nothing_over() -> None:
    goals = GoalUnderWay("widowx")
    assert refused(goals, FIRST) == ""
    assert "2.00 s ahead" in goals.refusal(CommandIdentity("widowx", b"9" * 16, NOW + 2 * 10**9), NOW)
    assert refused(goals, FIRST) == ""
    assert refused(goals, CommandIdentity("widowx", b"8" * 16, NOW + 10**8)) == ""


def test_after_it_was_retired_only_a_goal_that_was_accepted_later_is_executed() -> None:
    goals = GoalUnderWay("widowx")
    assert refused(goals, FIRST) == ""
    goals.retire(NOW)
    assert refused(goals, FIRST) == refused(goals, SECOND) == "goal"
    assert refused(goals, CommandIdentity("widowx", b"3" * 16, NOW), NOW + 5) == "goal"
    assert refused(goals, CommandIdentity("widowx", b"3" * 16, NOW + 1), NOW + 5) == ""


def test_after_a_jump_of_the_clock_a_new_goal_may_have_an_older_stamp_but_no_goal_comes_back() -> None:
    goals = GoalUnderWay("widowx")
    assert refused(goals, FIRST) == refused(goals, SECOND) == ""
    goals.clock_jumped()
    assert refused(goals, FIRST) == "goal"
    assert refused(goals, SECOND) == "", "the goal under way goes on"
    goals.retire(NOW)
    goals.clock_jumped()
    assert refused(goals, SECOND) == "goal"
    assert refused(goals, CommandIdentity("widowx", b"3" * 16, NOW - 10**12), NOW - 10**12) == ""


identities = st.builds(
    CommandIdentity,
    st.sampled_from(["widowx", "widowx", "widowx", "", "other"]),
    st.sampled_from([NO_GOAL, *(bytes([letter] * 16) for letter in b"abcd")]),
    st.integers(NOW - 4, NOW + 4) | st.sampled_from([0, NOW + 10**9]),
)


@given(st.lists(identities | st.just("retire"), max_size=30))
def test_goals_only_follow_each_other_in_time_whatever_comes(happened: list) -> None:
    goals, under_way, over, after = GoalUnderWay("widowx"), None, set(), 0
    for each in happened:
        if each == "retire":
            goals.retire(NOW)
            over, under_way, after = over | {under_way}, None, NOW
        elif not goals.refusal(each, NOW):
            assert each.robot == "widowx" and each.goal_id != NO_GOAL
            if each != under_way:
                assert after < each.goal_stamp <= NOW + 10**8
                assert each.goal_id not in {other.goal_id for other in over | {under_way} if other}
                over, under_way, after = over | {under_way}, each, each.goal_stamp
