"""What people ask the action server about its newest picture, and what it explains by itself: on a bench."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from server_bench import Server, served

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.nodes.kit.threads import Worker
from stvla_ros.nodes.server import question_service
from stvla_ros.policy.base import Answer, Picture, Policy, PolicyInput
from stvla_ros.policy.grounding.answers import thoughts_of_answer
from stvla_ros.policy.grounding.wordings import FORMS
from stvla_ros.policy.thoughts import Thought
from stvla_ros.srv import Ask

BOX = '{"bbox_2d": [56, 56, 112, 168], "label": "plate"}'
WAY = '{"trajectory_2d": [[0, 0], [224, 224]], "label": "gripper"}'
SIZE = (160, 120)


class Teller(Policy):
    """Says what it was asked for, as if it had seen 224 pixels."""

    name = "teller"
    answers_in_words = True
    asked: list[tuple[np.ndarray, str]]

    def __init__(self) -> None:
        self.asked = []

    def predict(self, observation: PolicyInput) -> Answer:
        return Answer((EndEffectorAction(np.array([0.01, 0.0, 0.0]), np.zeros(3), 1.0),))

    def ask(self, picture: Picture, question: str, given_up: Callable[[], bool]) -> Mapping[str, Thought]:
        self.asked.append((picture.rgb, question))
        if question == "refused":
            raise InputError("question: expected plain words")
        return thoughts_of_answer({"box": BOX, "way": WAY}.get(question, f"{BOX} {question}"), 224, picture.rgb)


def start(*parameters: str, policy: str = f"{__name__}:Teller") -> AbstractContextManager[Server]:
    return served(f"policy:={policy}", "traces:=none", "pacing:=lockstep", "execution:=receding", *parameters)


def observe(server: Server, seed: int, seconds: float = 1.0) -> tuple[int, np.ndarray]:
    """:returns: the observation's stamp and picture."""
    server.now_ns += round(seconds * 1e9)
    rgb = np.random.default_rng(seed).integers(0, 255, (*SIZE[::-1], 3), np.uint8)
    return server.observe(rgb, np.full(SIZE[::-1], 0.8, np.float32)), rgb


def call(server: Server, question: str) -> Any:
    """The service's coroutine, begun. :returns: the response, or the coroutine where it still waits."""
    coroutine = server.bench.call("~/ask", Ask.Request(question=question))
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    return coroutine


def goal(server: Server, instruction: str) -> None:
    server.goal(ExecuteInstruction.Goal(instruction=instruction))


def test_an_answer_tells_places_in_pixels_of_the_newest_picture() -> None:
    with start() as server:
        observe(server, 1)
        stamp, rgb = observe(server, 2)
        response = call(server, "box")
        assert response.success and response.answer == BOX
        assert (stamp_ns(response.header), response.header.frame_id) == (stamp, "image")
        (mark,) = response.marks
        assert (mark.name, mark.label, list(mark.pixels)) == ("boxes", "plate", [40.0, 30.0, 80.0, 90.0])
        (seen, _), *_ = server.node._policy.asked
        np.testing.assert_array_equal(seen, rgb)
        (way,) = call(server, "way").marks
        assert (way.name, list(way.pixels)) == ("way", [0.0, 0.0, 160.0, 120.0])


def test_an_answer_is_shown_with_its_pictures_stamp() -> None:
    with start() as server:
        stamp, rgb = observe(server, 1)
        call(server, "box")
        (drawn,), (marks,) = server.bench.sent("thoughts"), server.bench.sent("thought_marks")
        assert stamp_ns(drawn.header) == stamp_ns(marks.header) == stamp and marks.ns == "boxes"
        assert server.bench.sent("thought_text")[0].data == f"answer: {BOX}"
        shown = np.frombuffer(drawn.data, np.uint8).reshape(rgb.shape)
        changed = (shown != rgb).any(axis=2)
        assert changed[60, 40] and not changed[-1].any(), "the box, and not the words below it"


def test_nothing_is_commanded_by_a_question() -> None:
    with start() as server:
        observe(server, 1)
        assert call(server, "box").success
        assert not server.bench.sent("command") and not server.bench.sent("action_chunk")


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("", "question: expected a question in words, got a blank text"),
        (" \n", "question: expected a question in words"),
        ("x" * 10_000_000, "question: expected at most 4000 characters, got 10000000"),
        ("refused", "question: expected plain words"),
    ],
)
def test_a_question_that_cannot_be_used_is_one_line(question: str, said: str) -> None:
    with start() as server:
        observe(server, 1)
        response = call(server, question)
        assert not response.success and response.message.startswith(said) and "\n" not in response.message
        assert len(response.message) < 200 and not response.answer


def test_without_a_picture_nothing_is_asked() -> None:
    with start() as server:
        response = call(server, "box")
        assert not response.success and "none has come yet" in response.message
        assert not server.node._policy.asked


def test_a_policy_that_cannot_answer_says_so() -> None:
    with start(policy="random") as server:
        observe(server, 1)
        response = call(server, "box")
        assert not response.success
        expected = "expected a policy that answers in words, as one of the family st4vla does; random does not"
        assert response.message == f"question: {expected}"


def test_explain_with_a_policy_that_cannot_answer_ends_the_start() -> None:
    with pytest.raises(AssertionError, match="parameter explain: expected a policy that answers in words"):
        with start("explain:=true", policy="random"):
            pass


def test_an_answer_without_a_place_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teller, "ask", lambda *_: {"answer": "a red robot"})
    with start() as server:
        observe(server, 1)
        response = call(server, "what is it?")
        assert response.success and response.answer == "a red robot" and "names no place" in response.message


class _Held(Worker):
    """Nothing is worked on until the test says so."""

    def __init__(self, name: str, process: Callable, *_: Any) -> None:
        self.process, self.items = process, []

    def submit(self, item: Any) -> None:
        self.items.append(item)

    def run_idle(self, action: Callable[[], None], timeout_s: float) -> bool:
        action()
        return True

    def stop(self, timeout_s: float = 5.0) -> None:
        pass


@contextmanager
def held() -> Iterator[tuple[Server, _Held]]:
    """The asking thread is in the test's hands, all else runs."""
    with start() as server:
        worker = server.node._questions._worker = _Held("questions", server.node._questions._answer)
        yield server, worker


def test_while_a_question_is_open_every_observation_is_answered() -> None:
    with held() as (server, worker):
        goal(server, "stack")
        observe(server, 0)
        waiting = call(server, "box")
        stamps = [observe(server, number)[0] for number in range(1, 6)]
        assert len(worker.items) == 1, "still open"
        assert [stamp_ns(command.header) for command in server.bench.sent("command")][1:] == stamps
        figures = server.node.extra_diagnostics()
        assert figures["skipped_actions"] == figures["late_chunks"] == figures["holds"] == 0
        worker.process(worker.items.pop())
        with pytest.raises(StopIteration) as ended:
            waiting.send(None)
        assert ended.value.value.success


def test_more_questions_than_may_wait_are_refused() -> None:
    with held() as (server, _):
        observe(server, 1)
        waiting = [call(server, "box") for _ in range(question_service.MOST_WAITING)]
        refused = call(server, "box")
        assert not refused.success and "expected at most 4 at a time" in refused.message
        for each in waiting:
            each.close()


def test_a_deactivation_answers_what_waits_and_asks_nothing_more() -> None:
    with held() as (server, worker):
        observe(server, 1)
        waiting = call(server, "box")
        server.node.on_deactivate(None)
        with pytest.raises(StopIteration) as ended:
            waiting.send(None)
        assert (ended.value.value.success, ended.value.value.message) == (False, "the server was deactivated")
        worker.process(worker.items.pop())
        assert not server.node._policy.asked and not server.bench.sent("thoughts")


def test_what_is_explained_has_its_period_and_is_about_the_instruction() -> None:
    with start("explain:=true", "explain_period:=2.5", "explain_questions:=['{task}?', way]") as server:
        observe(server, 0)
        assert not server.node._policy.asked, "nothing is answered, and nothing explained"
        goal(server, "Stack it.")
        stamps = [observe(server, number)[0] for number in range(1, 7)]
        told = server.bench.sent("thoughts")
        # In lockstep the first observation that the goal answers is the one that waits.
        first = stamps[0] - 10**9
        assert [stamp_ns(message.header) for message in told] == [first, first + 3 * 10**9, first + 6 * 10**9]
        assert [question for _, question in server.node._policy.asked] == 3 * ["stack it?", "way"]
        assert [marks.ns for marks in server.bench.sent("thought_marks")[:2]] == ["boxes", "way"]
        assert len(server.bench.sent("command")) == 7


def test_nothing_is_explained_unless_asked_for() -> None:
    with start() as server:
        goal(server, "stack")
        observe(server, 1)
        assert not server.node._policy.asked


def test_what_is_explained_is_asked_as_models_are_trained() -> None:
    wordings = {wording for form in FORMS.values() for wording in form}
    assert set(question_service.EXPLAINED) <= wordings
