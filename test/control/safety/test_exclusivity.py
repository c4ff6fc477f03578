"""What a list of a topic's publishers means for the arm."""

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.exclusivity import LEASE_S, Contention, ExclusiveTopic

OWN = "/widowx_driver"


@pytest.mark.parametrize("publishers", [[], [OWN]])
def test_the_own_publisher_alone_is_right_found_or_not_found_yet(publishers: list[str]) -> None:
    assert ExclusiveTopic("/arm", OWN).look(publishers, 0.0) == Contention()


@pytest.mark.parametrize("publishers", [[], ["/vla_server"], [""]])
def test_any_one_publisher_of_commands_is_right(publishers: list[str]) -> None:
    assert ExclusiveTopic("/command").look(publishers, 0.0) == Contention()


@pytest.mark.parametrize("publishers", [["/joystick"], [OWN, "/joystick"], ["/joystick", OWN], [OWN, OWN, "/joystick"]])
def test_another_node_at_the_arm_is_certain_at_once_and_named(publishers: list[str]) -> None:
    found = ExclusiveTopic("/arm", OWN).look(publishers, 0.0)
    assert found.certain
    assert found.holds.startswith(f"topic /arm: expected {OWN} alone to publish, found ")
    assert "1 of /joystick" in found.holds


@pytest.mark.parametrize("publishers", [["/vla_server", "/other/vla_server"], ["/other", "/vla_server", "/vla_server"]])
def test_two_names_among_the_commanders_are_certain_at_once(publishers: list[str]) -> None:
    found = ExclusiveTopic("/command").look(publishers, 0.0)
    assert found.certain and all(name in found.holds for name in publishers)


@pytest.mark.parametrize(
    ("own", "publishers"),
    [
        (OWN, [OWN, OWN]),
        (OWN, [OWN, ""]),
        (OWN, [""]),
        ("", ["/vla_server", "/vla_server"]),
        ("", ["", "/vla_server"]),
        ("", ["/vla_server", ""]),
        ("", ["", ""]),
    ],
)
def test_what_may_be_a_dead_process_holds_until_it_is_forgotten_and_is_certain_when_it_stays(
    own: str, publishers: list[str]
) -> None:
    topic = ExclusiveTopic("/x", own)
    for now in (100.0, 100.0 + LEASE_S):
        found = topic.look(publishers, now)
        assert found.holds and not found.certain
    assert topic.look(publishers, 100.1 + LEASE_S).certain
    assert topic.look([own or "/vla_server"], 130.0) == Contention()
    assert not topic.look(publishers, 500.0).certain, "it is counted anew"


@examples(quick=100)
@given(st.lists(st.sampled_from([OWN, "", "/a", "/b"]), max_size=5), st.booleans())
def test_more_than_one_publisher_always_holds_and_one_never_does_but_a_strangers(names: list[str], arm: bool) -> None:
    found = ExclusiveTopic("/x", OWN if arm else "").look(names, 0.0)
    assert bool(found.holds) == (len(names) > 1 or (arm and names not in ([], [OWN])))
    assert not found.certain or found.holds
    others = set(names) - {""} - ({OWN} if arm else set())
    assert found.certain == (len(others) > (0 if arm else 1))
