"""What a training step waits for."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.training_step import small_trainer
from stvla_ros.learning.training import loop
from stvla_ros.policy.spatialvla.model import SpatialVla


class NumbersRead(TorchDispatchMode):
    """Tensors whose number a program asked for by ``float``, ``int``, ``item`` or a condition: on a GPU, it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self.dtypes.append(args[0].dtype)
        return function(*args, **(kwargs or {}))


def test_a_step_reads_its_figures_at_once_after_it_waited_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small_trainer()
    waited: list[torch.device] = []
    monkeypatch.setattr(loop, "wait_for_device", waited.append)
    # Two that read numbers which are on the CPU wherever the weights are.
    monkeypatch.setattr(SpatialVla, "embedding_scale", 13.875)
    trainer._average = None
    with NumbersRead() as read:
        figures = trainer.train_step()
    assert len(figures) > 5 and all(isinstance(each, float) for each in figures.values())
    assert read.dtypes == []
    assert waited == [torch.device("cpu")]
