"""How a CUDA graph is recorded. No GPU is needed: torch's stream and graph are stand-ins that note what is asked."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from stvla_ros.cuda_graph import CudaGraph


class Tensor:
    def __init__(self, device: str) -> None:
        self.device = device

    def clone(self) -> "Tensor":
        return Tensor(self.device)


class Stream(SimpleNamespace):
    def wait_stream(self, other: "Stream") -> None:
        assert other.device == self.device


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What torch.cuda.graph was asked for."""
    asked: list[dict] = []

    def record(graph, pool, stream, capture_error_mode):
        asked.append({"pool": pool, "stream": stream, "mode": capture_error_mode, "warm": len(ran)})
        return nullcontext()

    cuda = SimpleNamespace(
        device=lambda device: nullcontext(),
        Stream=lambda device: Stream(device=device),
        stream=lambda stream: nullcontext(),
        current_stream=lambda device: Stream(device=device),
        CUDAGraph=SimpleNamespace,
        graph=record,
    )
    ran: list[int] = []
    monkeypatch.setattr("stvla_ros.cuda_graph.torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(Tensor, "ran", ran, raising=False)
    return asked


def test_each_device_records_on_a_stream_of_its_own(recordings: list[dict]) -> None:
    for device in ("cuda:0", "cuda:1"):
        CudaGraph(lambda tensor: tensor, (Tensor(device),))
    assert [each["stream"].device for each in recordings] == ["cuda:0", "cuda:1"]


def test_other_threads_may_use_cuda_while_it_records(recordings: list[dict]) -> None:
    CudaGraph(lambda tensor: tensor, (Tensor("cuda:0"),))
    assert recordings[0]["mode"] == "thread_local"


def test_the_given_pool_of_memory_is_used(recordings: list[dict]) -> None:
    CudaGraph(lambda tensor: tensor, (Tensor("cuda:0"),), pool="ours")
    assert recordings[0]["pool"] == "ours"


def test_it_has_run_before_it_is_recorded(recordings: list[dict]) -> None:
    CudaGraph(lambda tensor: tensor.ran.append(1), (Tensor("cuda:0"),))
    assert recordings[0]["warm"] >= 2
