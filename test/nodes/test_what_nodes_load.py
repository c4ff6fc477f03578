"""What a node does not need is not loaded with it: it would start later, and take more memory."""

import subprocess
import sys

from stvla_ros.nodes.executables import module_of

LIGHT = ("tracker", "depth", "compositor", "robot_session", "replay", "fake_xs_arm", "fake_controllers")


def test_nodes_that_turn_nothing_load_neither_networks_nor_rotations() -> None:
    heavy = ("torch", "scipy", "pinocchio", "transformers")
    code = f"import sys, {', '.join(map(module_of, LIGHT))}; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
