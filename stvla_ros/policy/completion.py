"""Fills in what a policy needs beyond the current pictures."""

from collections.abc import Callable
from dataclasses import replace

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.base import InputNeeds, Past, PolicyInput


class InputCompletion:
    """The history and the committed actions of one policy's observations, the same in the live graph and in the
    evaluation. Not thread-safe.

    :param needs: the policy's. What it does not name stays empty, and nothing is kept for it.
    """

    def __init__(self, needs: InputNeeds) -> None:
        self._needs = needs
        self._history: tuple[Past, ...] = ()

    def reset(self) -> None:
        """A new episode or instruction starts."""
        self._history = ()

    def remember(self, observation: PolicyInput) -> PolicyInput:
        """The observation with its history. Each observation of an episode comes once, in the order of the stamps."""
        if not self._needs.history_s:
            return observation
        if self._history and observation.stamp < self._history[-1].stamp:
            self.reset()  # the source started anew
        oldest = observation.stamp - round(self._needs.history_s * 1e9)
        recent = tuple(past for past in self._history if past.stamp > oldest)
        # And the newest that is old enough: frames come at any rate.
        older = self._history[: len(self._history) - len(recent)][-1:]
        completed = replace(observation, history=(*older, *recent))
        self._history = (*completed.history, Past(observation.stamp, observation.pictures, observation.state))
        return completed

    def commit(self, observation: PolicyInput, planned: Callable[[], tuple[EndEffectorAction, ...]]) -> PolicyInput:
        """:param planned: gives what is executed from this observation on, unless its answer says otherwise."""
        return replace(observation, committed=planned()) if self._needs.committed else observation
