"""How many examples a property test runs: few in `make test`; STVLA_FUZZ_EXAMPLES=10000 makes the full run, as `make
fuzz` and `make test-safety` do.

The examples are the same in each run: a finding in `make test` is a finding, not luck.
"""

import os

from hypothesis import HealthCheck, Phase, settings


def examples(quick: int) -> settings:
    """A decorator. :param quick: examples in `make test`."""
    return settings(
        max_examples=int(os.environ.get("STVLA_FUZZ_EXAMPLES", quick)),
        derandomize=True,
        database=None,
        deadline=None,
        # Not the one that explains a finding: it runs the test hundreds of times more.
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
