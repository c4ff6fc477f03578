"""Fills in what a policy needs beyond the current pictures."""

from collections.abc import Callable
from dataclasses import replace

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import InputNeeds, Past, PolicyInput


class InputCompletion:
    """Keeps the history and the committed actions of one policy's observations. The live graph and the evaluation use
    the same code. Not thread-safe.

    :param needs: needs of the policy. Inputs that they do not name stay empty, and nothing is kept for them.
    """

    def __init__(self, needs: InputNeeds) -> None:
        self._needs = needs
        self._history: tuple[Past, ...] = ()

    def reset(self) -> None:
        """A new episode or instruction starts."""
        self._history = ()

    def remember(self, observation: PolicyInput) -> PolicyInput:
        """Add the history to an observation. Each observation of an episode must come once, in order of stamps."""
        if not self._needs.history_s:
            return observation
        if self._history and observation.stamp < self._history[-1].stamp:
            self.reset()  # the source started anew
        oldest = observation.stamp - round(self._needs.history_s * 1e9)
        recent = tuple(past for past in self._history if past.stamp > oldest)
        # Also keep the newest observation that is old enough: frames come at any rate.
        older = self._history[: len(self._history) - len(recent)][-1:]
        completed = replace(observation, history=(*older, *recent))
        self._history = (*completed.history, Past(observation.stamp, observation.pictures, observation.state))
        return completed

    def commit(self, observation: PolicyInput, planned: Callable[[], tuple[EndEffectorAction, ...]]) -> PolicyInput:
        """:param planned: function that returns the actions executed from this observation on, unless its answer
        replaces them.
        """
        return replace(observation, committed=planned()) if self._needs.committed else observation
