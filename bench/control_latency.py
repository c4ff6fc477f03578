"""Control latency of the whole graph in lockstep, from the observation's stamp to the command received."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def rows() -> list[dict[str, Any]]:
    """One row per deployment."""
    environment = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    result = []
    for name, option in (("separate", "--no-fused"), ("fused", "--fused")):
        output = Path(tempfile.mkdtemp())
        command = [
            sys.executable,
            "-m",
            "stvla_ros.cli",
            "sim",
            "--policy",
            "expert",
            "--episodes",
            "2",
            "--no-video",
            option,
            "--output",
            str(output),
        ]
        subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
        bridge = json.loads((output / "latest" / "summary.json").read_text())["stages"]["sim_bridge"]
        result.append({"what": f"control latency, {name}", "p50_ms": bridge["p50_ms"], "p99_ms": bridge["p99_ms"]})
    return result


if __name__ == "__main__":
    for row in rows():
        print(row)
