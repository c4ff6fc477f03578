"""What a policy asks for beyond the current pictures: it gets that, and is refused where nobody has it."""

import numpy as np
import pytest

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import InputNeeds, PolicyInput
from stvla_ros.policy.completion import InputCompletion

SECOND = 1_000_000_000


def observation(seconds: float) -> PolicyInput:
    return PolicyInput.of(round(seconds * SECOND), np.zeros((2, 2, 3), np.uint8))


def stamps(seen: PolicyInput) -> list[float]:
    return [past.stamp / SECOND for past in seen.history]


def test_history_reaches_back_as_far_as_asked_for_and_hardly_further() -> None:
    completion = InputCompletion(InputNeeds(history_s=1.0))
    seen = [completion.remember(observation(0.3 * step)) for step in range(8)]
    assert stamps(seen[0]) == []
    assert stamps(seen[7]) == pytest.approx([0.9, 1.2, 1.5, 1.8])
    assert seen[7].before(1.0).stamp == round(0.9 * SECOND)
    assert seen[2].before(1.0) is None


def test_history_ends_with_the_episode_and_with_a_source_that_starts_anew() -> None:
    completion = InputCompletion(InputNeeds(history_s=1.0))
    completion.remember(observation(5.0))
    completion.reset()
    assert completion.remember(observation(5.2)).history == ()
    assert completion.remember(observation(0.0)).history == ()


def test_what_is_not_asked_for_stays_empty() -> None:
    completion = InputCompletion(InputNeeds())
    completion.remember(observation(0.0))
    seen = completion.commit(completion.remember(observation(0.2)), lambda: (EndEffectorAction.hold(1.0),))
    assert seen.history == () and seen.committed == ()


def test_committed_actions_are_asked_for_only_by_policies_that_need_them() -> None:
    planned = (EndEffectorAction.hold(1.0),)
    seen = InputCompletion(InputNeeds(committed=True)).commit(observation(0.0), lambda: planned)
    assert seen.committed == planned


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (InputNeeds(cameras=("image", "wrist")), "policy p: needs a camera 'wrist', which the graph does not give"),
        (InputNeeds(state=("opening",)), "policy p: needs the robot's opening, which the graph does not give"),
        (InputNeeds(history_s=2.0), "policy p: needs 2 s of history, which the graph does not give"),
        (
            InputNeeds(committed=True, expert=True),
            "policy p: needs the actions already committed, the scripted expert's actions, which the graph does not give",  # noqa: E501
        ),
    ],
)
def test_needs_that_nobody_fills_are_one_line(needs: InputNeeds, message: str) -> None:
    with pytest.raises(InputError) as raised:
        needs.require("p", InputNeeds(state=("joints",), history_s=1.0), "the graph")
    assert str(raised.value) == message


def test_needs_that_are_filled_are_no_error() -> None:
    InputNeeds(state=("joints",), history_s=1.0).require("p", InputNeeds(state=("joints",), history_s=1.0), "the graph")
