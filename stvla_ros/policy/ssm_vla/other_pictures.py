"""Pictures of other episodes, in the place of the one that the policy expects: does it look at what it expects?"""

from pathlib import Path

import numpy as np

from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.base import Picture
from stvla_ros.safe_files import check_npz

OTHER_PICTURES = ("rgb", "depth", "intrinsics", "before", "episode", "instruction")
"""Arrays of the file: N frames, (N, H, W, 3) uint8, (N, H, W) float32 metres, (N, 3, 3) of their pixels, (N,) numbers
of the frames seen ``before_s`` earlier, (N,) episodes one after the other, (N,) texts."""


class OtherPictures:
    """Frames of recorded episodes, one for each step: of which episode, a seed says.

    :param file: .npz with ``OTHER_PICTURES``.
    :raises InputError: for a file that cannot be used.
    """

    def __init__(self, file: Path) -> None:
        try:
            check_npz(file)
            with np.load(file, allow_pickle=False) as stored:
                self._arrays = {name: stored[name] for name in OTHER_PICTURES}
            count = len(self._arrays["rgb"])
            if not count or any(len(each) != count for each in self._arrays.values()):
                raise ValueError("expected as many of each, one at least")
        except Exception as error:  # damage shows in whatever is done with a value
            names = ", ".join(OTHER_PICTURES)
            raise InputError(f"vision_of {file}: expected an npz with {names} ({reason_of(error)})") from None
        self._episodes = np.unique(self._arrays["episode"])

    def at(self, seed: int, step: int) -> tuple[Picture, Picture, str]:
        """What is seen in a step, what was seen before, and the instruction. After an episode's end its last frame.

        :param seed: seed that chooses the episode.
        :param step: number of the step, from 0.
        """
        rows = np.flatnonzero(self._arrays["episode"] == self._episodes[seed % len(self._episodes)])
        row = rows[min(step, len(rows) - 1)]
        now, before = (self._picture(each) for each in (row, int(self._arrays["before"][row])))
        return now, before, str(self._arrays["instruction"][row])

    def _picture(self, row: int) -> Picture:
        return Picture(*(self._arrays[name][row] for name in ("rgb", "depth", "intrinsics")))
