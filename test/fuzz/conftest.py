"""The helpers of the nodes' and the readers' tests are used here, too."""

import sys
from pathlib import Path

for folder in ("nodes", "learning", "recordings", "policy"):
    sys.path.append(str(Path(__file__).parents[1] / folder))
