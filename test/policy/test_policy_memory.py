"""What a process with the policy takes, and what it says when there is no more."""

import subprocess
import sys
from pathlib import Path

import pytest
from policy_inputs import BRIDGE, CAMERA
from tiny_checkpoint import HIDDEN, VOCABULARY, depth_map, picture

from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.create import create_checkpoint

REPOSITORY = Path(__file__).parents[2]


def run_python(code, *given):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, given)], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_small_model_stays_under_a_gigabyte_of_memory(tmp_path):
    create_checkpoint(tmp_path / "small", "small")
    code = """
import sys
from pathlib import Path
import numpy as np
from stvla_ros.policy import load_policy
policy = load_policy(sys.argv[1])
policy.warm_up()
rgb, depth = np.zeros((480, 640, 3), np.uint8), np.ones((480, 640), np.float32)
for given in (depth, None):
    policy.predict(rgb, "put the spoon on the towel", given)
# Its own peak: getrusage's begins with that of the process that started it.
(peak,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak) * 1024)
"""
    done = run_python(code, tmp_path / "small")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1e9


@pytest.mark.slow
@pytest.mark.parametrize("case", ["picture", "network"])
def test_running_out_of_memory_is_one_line_and_passes(checkpoint, case):
    code = """
import resource, sys
import numpy as np
from stvla_ros.errors import InputError
from stvla_ros.policy import load_policy
policy = load_policy(sys.argv[1])
given = dict(instruction="open", unnorm_key=sys.argv[2])
rgb, depth = np.zeros((224, 224, 3), np.uint8), np.ones((224, 224), np.float32)
before = policy.predict(rgb, depth=depth, **given).tokens
large = np.zeros((12000, 12000, 3), np.uint8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2_000_000, limits[1]))
try:
    if sys.argv[3] == "picture":
        policy.predict(large, depth=depth, **given)
    else:
        policy.predict(rgb, **given)  # ZoeDepth's 384x384 takes the most
except InputError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, limits)
assert (policy.predict(rgb, depth=depth, **given).tokens == before).all()
"""
    done = run_python(code, checkpoint, BRIDGE, case)
    assert done.returncode == 0, done.stderr
    assert "out of memory" in done.stdout and done.stdout.count("\n") == 1


def test_a_lean_model_gives_the_tokens_of_the_whole_one_without_what_it_does_not_read(checkpoint):
    whole, lean = load_policy(str(checkpoint)), load_policy(str(checkpoint), lean=True)
    given = (picture(1), "put the spoon", depth_map(), CAMERA, BRIDGE)
    assert (lean.predict(*given).tokens == whole.predict(*given).tokens).all()
    missing = whole.model.state_dict().keys() - lean.model.state_dict().keys()
    assert {name.split(".")[0] for name in missing} == {"vision_zoe_model", "language_model"}
    assert "language_model.model.embed_tokens.weight" in missing
    assert lean.model.language_model.lm_head.weight.shape == (8194, HIDDEN)
    assert len(lean.model.text_table) == VOCABULARY
    with pytest.raises(InputError, match="^depth: expected metres"):
        lean.predict(picture(1), "put the spoon", None, CAMERA, BRIDGE)
    with pytest.raises(ValueError, match="expected a whole model"):
        lean.save_pretrained(checkpoint.parent / "never")


def test_a_policy_brings_no_compiler_along():
    code = """
import sys
import numpy as np
from stvla_ros.policy.base import PolicyInput
from stvla_ros.policy.registry import make_policy
policy = make_policy("stvla", device="cpu", threads=1)
policy.load()
k = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
rgb, depth = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32)
policy.predict(PolicyInput.of(0, rgb, depth, k, "stack the green block on the yellow block"))
print([name for name in ("torch._dynamo", "torch.distributed.tensor", "sympy", "accelerate") if name in sys.modules])
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
