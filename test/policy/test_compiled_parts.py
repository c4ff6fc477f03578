"""What stands between the products, compiled in the warm-up and never later."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_small_tokens as small
import torch

from stvla_ros.errors import InputError
from stvla_ros.policy import compiled_parts, load_policy
from stvla_ros.policy.compiled_parts import Compiler, are_worth_it, default_folder
from stvla_ros.policy.registry import make_policy
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.shared_files import default_checkpoint

REPOSITORY = Path(__file__).parents[2]
# Longer than what prompts are first padded to: 32 tokens.
LONG = "pick up the red cube and then put it down on the yellow block again, slowly and with all possible care " * 2


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[torch.fx.GraphModule]:
    """What was traced. A stand-in for Inductor's code, which takes a minute to write: the traced operations run."""
    import torch._inductor

    graphs: list[torch.fx.GraphModule] = []

    def write(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch._inductor, "compile", write)
    return graphs


def test_a_part_is_compiled_for_the_shapes_of_the_warm_up_alone(written: list[torch.fx.GraphModule]) -> None:
    compiler = Compiler()
    part = compiler.part(double)
    with compiler.compiling():
        part(torch.ones(3))
        part(torch.ones(3))
    assert len(written) == 1
    for shape in ((3,), (4,)):
        assert part(torch.ones(shape)).tolist() == [2.0] * shape[0]
    assert len(written) == 1


@pytest.mark.parametrize(
    "other", [torch.ones(2, 3).t(), torch.ones(3, 2, dtype=torch.float64)], ids=["strides", "type"]
)
def test_of_another_layout_or_type_another_part_is_compiled(
    written: list[torch.fx.GraphModule], other: torch.Tensor
) -> None:
    compiler = Compiler()
    part = compiler.part(double)
    with compiler.compiling():
        part(torch.ones(3, 2))
        part(other)
    assert len(written) == 2


def tokens_of(policy: Any, cases: dict) -> dict:
    return {key: policy.predict(*prepared(*key)).tokens.tolist() for key in cases}


def prepared(left: int, text: str) -> tuple:
    rgb, depth = small.seen(left)
    return rgb, text, depth, small.K


@pytest.fixture
def policy() -> Any:
    return load_policy(str(default_checkpoint()), accelerations=Accelerations(compiled_parts=True), lean=True)


def test_the_warm_up_traces_all_that_chunks_need_and_they_give_the_same_tokens(
    written: list[torch.fx.GraphModule], policy: Any
) -> None:
    policy.warm_up()
    traced = len(written)
    assert traced > 15
    # The server warms up in another thread than it infers in.
    with ThreadPoolExecutor(1) as other:
        assert other.submit(tokens_of, policy, small.TOKENS).result() == small.TOKENS
        long = other.submit(policy.predict, *prepared(0, LONG)).result().tokens.tolist()
    assert long == small.predictor().predict(*prepared(0, LONG)).tokens.tolist()
    assert len(written) == traced


@pytest.mark.slow
def test_inductors_code_gives_the_same_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: Any) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    policy.warm_up()
    libraries = len(list(tmp_path.rglob("*.so")))
    assert libraries > 10
    with ThreadPoolExecutor(1) as other:
        assert other.submit(tokens_of, policy, small.TOKENS).result() == small.TOKENS
    assert len(list(tmp_path.rglob("*.so"))) == libraries


def test_without_a_compiler_one_line_says_so_and_the_policy_acts() -> None:
    code = """
import sys
sys.path.insert(0, "test/policy")
import test_small_tokens as small
from stvla_ros.policy import load_policy
from stvla_ros.policy.spatialvla.decoding.decoder import Accelerations
from stvla_ros.shared_files import default_checkpoint
policy = load_policy(str(default_checkpoint()), accelerations=Accelerations(compiled_parts=True), lean=True)
policy.warm_up()
rgb, depth = small.seen(400)
assert policy.predict(rgb, small.STACK, depth, small.K).tokens.tolist() == small.TOKENS[400, small.STACK]
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("note: compiled_parts: continues without") and done.stderr.count("\n") == 1


def test_what_cannot_be_compiled_is_said_once_for_all_parts(
    written: list[torch.fx.GraphModule], capsys: pytest.CaptureFixture[str]
) -> None:
    compiler = Compiler()

    def by_value(x: torch.Tensor) -> torch.Tensor:
        return x * float(x.sum())

    parts = compiler.part(by_value), compiler.part(double)
    with compiler.compiling():
        assert [part(torch.ones(2)).tolist() for part in parts] == [[2.0, 2.0]] * 2
    assert not compiler.enabled and not written
    assert capsys.readouterr().err.count("note: compiled_parts: ") == 1


@pytest.mark.parametrize("wrong", [lambda x: x * 2.01, lambda x: x * torch.nan, lambda x: x.add_(1)])
def test_what_was_compiled_wrongly_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: Callable
) -> None:
    monkeypatch.setattr(compiled_parts, "_compile", lambda function, tensors: wrong)
    compiler = Compiler()
    part = compiler.part(double)
    with compiler.compiling():
        part(torch.ones(3))
    assert not compiler.enabled and part(torch.ones(3)).tolist() == [2.0] * 3
    assert "other numbers than the function" in capsys.readouterr().err


def test_lack_of_memory_is_no_lack_of_a_compiler() -> None:
    compiler = Compiler()

    def starve(x: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(MemoryError), compiler.compiling():
        compiler.part(starve)(torch.ones(2))
    assert compiler.enabled


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A stand-in: with a capability, and with Triton or without."""
    here = SimpleNamespace(capability=(8, 9), triton=True)
    find = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: object() if here.triton else None))
    monkeypatch.setattr(compiled_parts, "importlib", find)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: here.capability)
    return here


def test_parts_are_compiled_on_a_gpu_with_triton(gpu: SimpleNamespace) -> None:
    assert are_worth_it(torch.device("cuda")) and not are_worth_it(torch.device("cpu"))


def test_parts_are_not_compiled_without_triton_or_for_a_gpu_that_it_does_not_know(gpu: SimpleNamespace) -> None:
    gpu.capability = (6, 1)
    assert not are_worth_it(torch.device("cuda"))
    gpu.capability, gpu.triton = (9, 0), False
    assert not are_worth_it(torch.device("cuda"))


@pytest.mark.parametrize("value", ["", "on", "true", 1, None, []])
def test_another_value_of_the_parameter_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="^compiled_parts: expected auto, true or false, got "):
        make_policy("stvla", compiled_parts=value)


@pytest.mark.parametrize(("cache", "expected"), [("/var/x", "/var/x"), ("x", "/robot/.cache"), ("", "/robot/.cache")])
def test_code_is_kept_in_the_users_own_cache(monkeypatch: pytest.MonkeyPatch, cache: str, expected: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setenv("HOME", "/robot")
    assert default_folder() == Path(expected) / "stvla_ros" / "inductor"
