"""Questions in words about the newest picture, which people ask, and with ``explain`` the server itself.

They never enter the control loop: a thread of its own asks them, beside the one that infers. Neither waits for the
other.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from rclpy.task import Future

from stvla_ros.errors import InputError
from stvla_ros.msg import PictureMark
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.nodes.kit.threads import Worker
from stvla_ros.nodes.server.thought_outputs import ThoughtOutputs
from stvla_ros.policy.base import ANSWER, MAIN_CAMERA, Policy, PolicyInput
from stvla_ros.policy.instruction_text import check_question
from stvla_ros.policy.registry import no_answers
from stvla_ros.policy.thoughts import Boxes, Points, Thought
from stvla_ros.srv import Ask

# Number of questions that may wait; one more is refused.
MOST_WAITING = 4
# As a model that was trained here knows them (docs/reference/grounding.md).
EXPLAINED = (
    "Your task is to {task}. Give the boxes of the key objects in [x1,y1,x2,y2] format.",
    "Trajectory of the gripper to {task}, as JSON.",
)


@dataclass(eq=False)
class _Round:
    """Questions about one picture.

    :param observation: observation with the picture.
    :param questions: questions in words.
    :param done: future that the caller waits for; None without a caller.
    :param thoughts: thoughts by name, as far as there are answers.
    :param problem: reason why there is no answer; empty when there is one.
    """

    observation: PolicyInput
    questions: tuple[str, ...]
    done: Future | None = None
    thoughts: dict[str, Thought] = field(default_factory=dict)
    problem: str = ""


class QuestionService:
    """The service ``~/ask``, and the questions of ``explain``.

    :param node: node that declares the parameters and spins the service.
    """

    def __init__(self, node: StvlaNode) -> None:
        self._node = node
        self._explain = node.parameter(
            "explain",
            False,
            "have the policy tell in words, beside acting, where it sees things and where it goes",
        )
        self._period_s = node.parameter(
            "explain_period",
            2.0,
            "least seconds between two observations that are explained, by their stamps",
            low=0.0,
            high=3600.0,
        )
        self._explained = node.parameter(
            "explain_questions", list(EXPLAINED), "what is asked about each; {task} is the instruction"
        )
        # Guards what the executor's thread, the policy's and the asking one share.
        self._lock = threading.Lock()
        self._waiting: list[_Round] = []
        self._explained_at: int | None = None
        self._newest: PolicyInput | None = None
        self._policy: Policy | None = None

    def serve(self, policy: Policy, outputs: ThoughtOutputs) -> None:
        """Offer the service. To be called from the node's ``configure``.

        :param policy: loaded policy.
        :param outputs: publishers that show the answers.
        :raises InputError: for a policy that cannot do what ``explain`` asks for.
        """
        if self._explain and not policy.answers_in_words:
            raise InputError(f"parameter explain: {no_answers(policy.name)}")
        for question in self._explained:
            check_question(question)
        self._policy, self._outputs = policy, outputs
        self._worker: Worker[_Round] = self._node.start_worker("questions", self._answer, MOST_WAITING)
        self._node.create_service(Ask, "~/ask", self._on_ask)

    def listen(self) -> None:
        """To be called from the node's ``activate``."""
        self._node.on_stop_inputs(self._give_up)

    def forget(self) -> None:
        """The network. To be called from the node's ``cleanup``."""
        self._policy = None

    def saw(self, observation: PolicyInput) -> None:
        """Note the newest observation. Thread-safe. :param observation: newest observation."""
        self._newest = observation

    def answered(self, observation: PolicyInput, instruction: str) -> None:
        """Explain an observation that the policy has answered with a chunk, if it is time for that.

        :param observation: observation that was answered.
        :param instruction: instruction of the goal.
        """
        if not self._explain:
            return
        with self._lock:
            since = None if self._explained_at is None else (observation.stamp - self._explained_at) * 1e-9
            # Stamps that jump back are a source that started anew.
            early = since is not None and 0.0 <= since < self._period_s
            if early or self._waiting or not self._node.is_active:
                return
            self._explained_at = observation.stamp
            task = instruction.strip().rstrip(".!").lower()
            asked = _Round(observation, tuple(each.replace("{task}", task) for each in self._explained))
            self._waiting.append(asked)
        self._worker.submit(asked)

    # --- the service (executor's thread) --------------------------------------------------------------------------

    async def _on_ask(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        try:
            asked = self._taken(request.question)
        except InputError as error:
            self._node.reject("question", str(error))
            response.message = str(error)
            return response
        self._worker.submit(asked)
        await asked.done
        return _filled(response, asked)

    def _taken(self, question: str) -> _Round:
        """:raises InputError: for a question that cannot be asked now."""
        check_question(question)
        policy, seen = self._policy, self._newest
        if policy is None or not self._node.is_active:
            raise InputError("question: expected an active server")
        if not policy.answers_in_words:
            raise InputError(f"question: {no_answers(policy.name)}")
        if seen is None or MAIN_CAMERA not in seen.pictures:
            raise InputError("question: expected a picture before it, none has come yet (topics image and depth)")
        asked = _Round(seen, (question,), Future(executor=self._node.executor))
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                raise InputError(f"question: expected at most {MOST_WAITING} at a time, so many wait for their answer")
            self._waiting.append(asked)
        return asked

    def _give_up(self) -> None:
        self._newest = None
        with self._lock:
            waiting = [*self._waiting]
        for asked in waiting:
            self._end(asked, "the server was deactivated")

    # --- asking (a thread of its own) -----------------------------------------------------------------------------

    def _answer(self, asked: _Round) -> None:
        policy = self._policy
        try:
            for question in asked.questions:
                if policy is None or self._is_over(asked):
                    return
                told = policy.ask(asked.observation.picture, question, lambda: self._is_over(asked))
                _add(asked.thoughts, told)
        except InputError as error:
            asked.problem = str(error)
            self._node.reject("question", str(error))
        except Exception as error:  # a policy is a plug-in
            asked.problem = f"policy {policy.name if policy else ''}: {type(error).__name__}: {error}"
            raise
        finally:
            if asked.thoughts and not self._is_over(asked):
                self._outputs.publish(asked.observation, asked.thoughts)
            self._end(asked, asked.problem)

    def _is_over(self, asked: _Round) -> bool:
        with self._lock:
            return asked not in self._waiting

    def _end(self, asked: _Round, problem: str) -> None:
        with self._lock:
            if asked not in self._waiting:
                return
            self._waiting.remove(asked)
            asked.problem = problem
        if asked.done is not None:
            asked.done.set_result(None)
            # Setting the result does not by itself wake an executor that waits in another thread.
            if self._node.executor is not None:
                self._node.executor.wake()


def _add(thoughts: dict[str, Thought], further: Mapping[str, Thought]) -> None:
    """The words of several answers are one text, and of their places each has a name of its own."""
    for name, thought in further.items():
        before = thoughts.get(name)
        if isinstance(before, str) and isinstance(thought, str):
            thoughts[name] = f"{before}\n{thought}"
            continue
        names = (name if number == 1 else f"{name} {number}" for number in range(1, len(thoughts) + 2))
        thoughts[next(each for each in names if each not in thoughts)] = thought


def _filled(response: Ask.Response, asked: _Round) -> Ask.Response:
    response.header = make_header(asked.observation.stamp, MAIN_CAMERA)
    response.success, response.message = not asked.problem, asked.problem
    if asked.problem:
        return response
    answer = asked.thoughts.get(ANSWER, "")
    response.answer = answer if isinstance(answer, str) else ""
    for name, thought in asked.thoughts.items():
        if isinstance(thought, Boxes | Points):
            response.marks += _marks(name, thought)
    if not response.marks:
        response.message = (
            "the answer names no place; wordings that models trained here know: docs/reference/grounding.md"
        )
    return response


def _marks(name: str, thought: Boxes | Points) -> list[PictureMark]:
    places: np.ndarray = thought.corners if isinstance(thought, Boxes) else thought.places
    if isinstance(thought, Points) and thought.is_path:
        return [PictureMark(name=name, label=" ".join(thought.labels), pixels=places.ravel().tolist())]
    labels = thought.labels or ("",) * len(places)
    return [PictureMark(name=name, label=label, pixels=row.tolist()) for row, label in zip(places, labels, strict=True)]
