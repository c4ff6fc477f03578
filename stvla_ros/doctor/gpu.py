"""Check 3: the device for the policy."""

import os
import shutil
from dataclasses import dataclass

from stvla_ros.doctor.findings import Findings, error, note, ok, warning
from stvla_ros.errors import reason_of
from stvla_ros.missing_packages import missing_package

# The published 4B model takes 8.4 GB as bfloat16 (docs/reference/policy.md); its activations and the display need some
# more.
_LARGE_MODEL_GB = 10.0


@dataclass(frozen=True)
class Gpu:
    """
    :param memory_gb, free_gb: total and free memory, 1e9 bytes.
    :param bfloat16: whether it computes in bfloat16 by itself.
    :param compiled: whether parts of a policy are compiled for this GPU.
    """

    name: str
    memory_gb: float
    free_gb: float
    bfloat16: bool
    compiled: bool = True


@dataclass(frozen=True)
class TorchFacts:
    """
    :param version: torch's version; empty when torch cannot be imported.
    :param problem: reason why torch cannot be imported.
    :param cuda: version of CUDA that torch was built for; empty for a CPU build.
    :param driver: whether the machine has NVIDIA's driver.
    :param compiler: whether there is a C compiler.
    """

    version: str
    problem: str = ""
    cuda: str = ""
    driver: bool = False
    gpus: tuple[Gpu, ...] = ()
    compiler: bool = True


def torch_facts() -> TorchFacts:
    try:
        import torch  # takes seconds, and only this check needs it

        from stvla_ros.devices import has_bfloat16
        from stvla_ros.policy.compiled_parts import are_worth_it
    except Exception as problem:  # a broken installation may raise anything
        return TorchFacts("", missing_package(problem) or f"{type(problem).__name__}: {reason_of(problem)}")
    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name, compiled = torch.cuda.get_device_name(number), are_worth_it(torch.device("cuda", number))
            gpus.append(Gpu(name, total / 1e9, free / 1e9, has_bfloat16(number), compiled))
    driver = shutil.which("nvidia-smi") is not None
    # Triton needs a C compiler for the launchers of its kernels.
    compiler = any(map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang")))
    return TorchFacts(torch.__version__, "", torch.version.cuda or "", driver, tuple(gpus), compiler)


def check_gpu(facts: TorchFacts) -> Findings:
    if not facts.version:
        yield error(
            f"torch cannot be imported: {facts.problem}",
            "it is needed where the policy runs (vla_server); camera, perception and driver do without "
            "(docs/how-to/two-computers.md)",
        )
        return
    if facts.gpus:
        yield ok(f"torch {facts.version} with CUDA {facts.cuda}")
    elif facts.driver:
        build = f"for CUDA {facts.cuda}" if facts.cuda else "for CPUs alone"
        yield warning(
            f"this machine has NVIDIA's driver, but torch {facts.version} (built {build}) sees no GPU",
            "install the torch build that fits the driver (https://pytorch.org), and see what `nvidia-smi` says",
        )
    else:
        yield note(f"torch {facts.version}, no GPU: the policy runs on the CPU, which is enough for the small model")
    for gpu in facts.gpus:
        yield from _check_one(gpu)
    if facts.gpus and not facts.compiler:
        yield note(
            "no C compiler: the policy runs with twice as many kernels as compiled ones would be",
            "install gcc (apt install build-essential), and Python's headers (python3-dev)",
        )


def _check_one(gpu: Gpu) -> Findings:
    yield ok(f"{gpu.name}, {gpu.memory_gb:.0f} GB, {gpu.free_gb:.0f} GB free")
    if gpu.free_gb < _LARGE_MODEL_GB:
        yield note(
            f"the published 4B model needs about {_LARGE_MODEL_GB:.0f} GB; the small one fits",
            "for the 4B model: end other programs on the GPU, or take a larger one",
        )
    if not gpu.compiled:
        yield note(
            f"{gpu.name}: no parts of a policy are compiled for it, so that it runs twice as many kernels",
            "install the triton that belongs to this torch; it needs compute capability 7.0",
        )
    if not gpu.bfloat16:
        yield note(
            f"{gpu.name} does not compute in bfloat16: dtype auto takes float32 there, which is twice as large",
            "give --dtype float16 to `stvla robot` when float32 does not fit; scores beyond its range are refused",
        )
