"""How often a policy without memory can succeed in the tasks of memory_tasks.py.

* ``return_cube``: where the cube is put down in the end is independent of where it stood, which is uniform in a box of
  :data:`START_BOX`. No place has more than pi r^2 / A of it within r = :data:`RETURNED_M`: 4.1 %.
* ``tap_both``: at the start and at home everything is the same, so a policy that taps the left cube first with
  probability p does so the second time. One of each has 2 p (1 - p): at most 50 %, and 0 % for one that does not draw.
"""

import math
from collections.abc import Mapping

RETURNED_M = 0.025
"""Horizontal distance from where it stood within which the cube counts as returned."""
START_BOX = (0.20, 0.24)
"""Where the cube stands at first: lengths along x and y, metres."""
RETURN_BOUND = math.pi * RETURNED_M**2 / math.prod(START_BOX)
TAP_BOUND = 0.5
MEMORYLESS_BOUNDS: Mapping[str, float] = {"return_cube": RETURN_BOUND, "tap_both": TAP_BOUND}
"""By task, the success that no policy without memory exceeds."""
