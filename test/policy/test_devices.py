import os
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from stvla_ros import devices
from stvla_ros.devices import memory_for, parse_device, parse_dtype, set_threads
from stvla_ros.errors import DeviceLost, InputError


def test_auto_is_cuda_only_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert parse_device("auto", "device").type == expected


def test_cpu_is_the_cpu():
    assert parse_device("cpu", "device") == torch.device("cpu")


@pytest.mark.parametrize("device", ["", "tpu", "mps", "meta", "cuda:-1", "cuda:x", "CUDA", None, 5, []])
def test_unknown_device_is_refused_by_name(device):
    with pytest.raises(InputError, match=r"^arm device: expected auto, cpu, cuda or cuda:N, got "):
        parse_device(device, "arm device")


def test_cuda_device_that_does_not_exist_is_refused_with_the_number_there_are():
    count = torch.cuda.device_count()
    with pytest.raises(InputError, match=rf"device: 'cuda:{count}' asked for, but torch sees {count} CUDA devices"):
        parse_device(f"cuda:{count}", "device")


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_dtype_is_torchs_of_that_name(name):
    assert parse_dtype(name, "dtype") is getattr(torch, name)


def test_auto_dtype_on_the_cpu_is_float32():
    assert parse_dtype("auto", "dtype", torch.device("cpu")) is torch.float32


def test_auto_dtype_needs_a_device():
    with pytest.raises(InputError, match="^dtype: expected one of float32, float16, bfloat16, got 'auto'$"):
        parse_dtype("auto", "dtype")


@pytest.mark.parametrize("dtype", ["", "int8", "float64", "Float32", None, 32, [], torch.float32])
def test_unknown_dtype_is_refused_with_those_there_are(dtype):
    with pytest.raises(InputError, match="^dtype: expected one of auto, float32, float16, bfloat16, got "):
        parse_dtype(dtype, "dtype", torch.device("cpu"))


@pytest.mark.parametrize("allocate", [lambda: torch.empty(10**15), lambda: b"x" * 10**15], ids=["torch", "python"])
def test_failed_allocation_is_one_line(allocate):
    with pytest.raises(InputError, match=r"^inference on cpu: out of memory; .*$"), memory_for("inference on cpu"):
        allocate()


def test_other_errors_are_not_taken_for_lack_of_memory():
    with pytest.raises(RuntimeError, match="size"), memory_for("inference on cpu"):
        torch.zeros(2) + torch.zeros(3)


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads_restored")
def test_without_a_number_half_of_the_cores_are_used():
    set_threads(0)
    assert torch.get_num_threads() == max(1, len(os.sched_getaffinity(0)) // 2)


@pytest.mark.usefixtures("threads_restored")
def test_the_given_number_of_threads_is_used():
    cores = len(os.sched_getaffinity(0))
    set_threads(cores)
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize("threads", [-1, 10_000, 1.5, "2", None, True])
def test_a_number_of_threads_that_there_cannot_be_is_refused(threads):
    with pytest.raises(InputError, match="^threads: expected 0 .half the cores. to "):
        set_threads(threads)


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_dtype_on_cuda_is_bfloat16_only_where_it_is_no_emulation(monkeypatch, native, expected):
    # A stand-in for the GPU: torch knows of emulation by the argument alone.
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert parse_dtype("auto", "dtype", torch.device("cuda")) is expected


@pytest.mark.parametrize("lost", [True, False])
def test_a_cuda_error_is_told_from_the_loss_of_the_device(monkeypatch, lost):
    # A stand-in for the GPU, which answers nothing after an error that stays.
    def answer(*_, **__):
        if lost:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", answer)
    monkeypatch.setattr(devices, "torch", SimpleNamespace(**vars(torch) | {"ones": lambda *_, **__: torch.ones(1)}))
    expected = DeviceLost if lost else RuntimeError
    with pytest.raises(expected, match="illegal" if lost else "size") as raised, memory_for("inference on cuda"):
        raise RuntimeError("an illegal memory access" if lost else "size of tensor")
    assert isinstance(raised.value, DeviceLost) is lost
