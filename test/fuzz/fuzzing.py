"""How many examples a fuzz test runs: few in `make test`; STVLA_FUZZ_EXAMPLES=10000 makes the full run.

The examples are the same in each run: a finding in `make test` is a finding, not luck.
"""

import os

from hypothesis import HealthCheck, Phase, settings

QUICK_EXAMPLES = 15

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("STVLA_FUZZ_EXAMPLES", QUICK_EXAMPLES)),
    derandomize=True,
    database=None,
    deadline=None,
    # Not the one that explains a finding: it runs the test hundreds of times more.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
# As a decorator of each test, not loaded for the whole run: the other tests' settings are their own.
fuzz = settings.get_profile("fuzz")
