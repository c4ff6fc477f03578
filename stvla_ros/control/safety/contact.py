"""Detects contact from the servos' efforts: an arm that meets an obstacle works harder than one that moves freely."""

from collections.abc import Sequence

import numpy as np

# Number of measurements in a row: a single one may be a bad read, or the current of a start.
_IN_A_ROW = 2


class ContactWatch:
    """The sign of an effort is its direction, and does not matter. A NaN is no measurement: it neither counts nor ends
    a row.

    :param names: names of the coordinates.
    :param limits: greatest effort of each coordinate in free motion (n,), in the robot's unit; None for one that is not
        watched.
    :param timeout_s: time for which an effort may be missing that was measured before.
    """

    def __init__(self, names: Sequence[str], limits: Sequence[float | None], timeout_s: float) -> None:
        self._names, self._timeout_s = tuple(names), timeout_s
        self._limited = np.array([limit is not None for limit in limits])
        self._limits = np.array([np.inf if limit is None else limit for limit in limits])
        self.forget()

    def forget(self) -> None:
        """Forget everything: the arm is taken up anew."""
        self._row = np.zeros(len(self._names), dtype=int)
        self._seen_at = np.full(len(self._names), np.nan)
        self._nonzero = False

    def take(self, effort: np.ndarray, moving: bool, now: float) -> str:
        """
        :param effort: (n,) measured efforts, NaN if not measured.
        :param moving: whether the arm is asked to move; only then does an effort show a contact.
        :param now: seconds of a steady clock.
        :returns: line that names the joint; empty without a contact.
        """
        measured = np.isfinite(effort)
        self._seen_at = np.where(measured, now, self._seen_at)
        self._nonzero = self._nonzero or bool(effort[measured].any())
        over = measured & (np.abs(np.where(measured, effort, 0.0)) > self._limits)
        self._row = np.where(over, self._row + 1, np.where(measured, 0, self._row)) if moving else 0 * self._row
        broken = over & (self._row >= _IN_A_ROW)
        if broken.any():
            worst = int(np.where(broken, np.abs(effort) / self._limits, -1.0).argmax())
            return f"{self._names[worst]} needs an effort of {abs(effort[worst]):.4g}, {self._limits[worst]:g} allowed"
        missing = np.flatnonzero(self._limited & (now - self._seen_at > self._timeout_s))  # False for NaN
        if moving and len(missing):
            lost = int(missing[0])
            return (
                f"no effort of {self._names[lost]} for {now - self._seen_at[lost]:.2g} s, it was measured before: "
                "contact cannot be seen"
            )
        return ""

    def unwatched(self) -> str:
        """The unwatched coordinates and the reason, as text; empty when all are watched."""
        if not self._limited.any():
            return "the robot's file has no joints.*.effort: contact is not watched"
        silent = self._limited & np.isnan(self._seen_at)
        if silent[self._limited].all():
            return "the arm gives no efforts: contact is not watched"
        unwatched = [name for name, limited, mute in zip(self._names, self._limited, silent) if mute or not limited]
        if unwatched:
            return f"no effort, or no limit of it, of {', '.join(unwatched)}: contact there is not watched"
        return "" if self._nonzero else "the arm's efforts were all 0 so far: contact is not watched while they are"
