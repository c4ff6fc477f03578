"""How many examples a property test runs: few in `make test`; STVLA_FUZZ_EXAMPLES=10000 makes the full run, as `make
fuzz` does.

The examples are the same in each run: a finding in `make test` is a finding, not luck. STVLA_FUZZ_SEED=7 draws others,
and the same ones for the same seed, as `make test-safety` does.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings

_SEED = os.environ.get("STVLA_FUZZ_SEED")


def as_many(quick: int) -> settings:
    """Also those of each property test that says nothing (test/conftest.py)."""
    return settings(
        max_examples=int(os.environ.get("STVLA_FUZZ_EXAMPLES", quick)),
        derandomize=_SEED is None,
        database=None,
        deadline=None,  # a busy machine is no reason to fail
        # Not the one that explains a finding: it runs the test hundreds of times more.
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def examples(quick: int) -> Callable[[Any], Any]:
    """A decorator. :param quick: examples in `make test`."""
    chosen = as_many(quick)
    return chosen if _SEED is None else lambda test: seed(int(_SEED))(chosen(test))
