"""The success that a policy without memory can have in the tasks of memory_tasks.py.

* ``return_cube``: without memory, the place where the cube is finally put does not depend on where it stood, which is
  uniform in a box of :data:`START_BOX`. The probability that it stood within r = :data:`RETURNED_M` of any place is at
  most pi r^2 / A: 4.1 %.
* ``tap_both``: at the start and at home everything looks the same. A policy that taps the left cube first with
  probability p therefore does so the second time with probability p, too. It taps one of each with probability 2 p (1 -
  p): at most 50 %, and 0 % for a policy without random draws.
"""

import math
from collections.abc import Mapping

RETURNED_M = 0.025
"""Horizontal distance from its first place within which the cube counts as returned."""
START_BOX = (0.20, 0.24)
"""Box of the cube's first places: lengths along x and y, metres."""
RETURN_BOUND = math.pi * RETURNED_M**2 / math.prod(START_BOX)
TAP_BOUND = 0.5
MEMORYLESS_BOUNDS: Mapping[str, float] = {"return_cube": RETURN_BOUND, "tap_both": TAP_BOUND}
"""The success that no policy without memory exceeds, by task."""
