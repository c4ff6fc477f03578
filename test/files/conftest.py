"""The helpers of the readers' tests and of the fuzz tests are used here, too."""

import sys
from pathlib import Path

for folder in ("fuzz", "learning", "recordings", "policy", "nodes"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
