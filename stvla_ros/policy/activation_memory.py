"""The memory that a forward and a backward pass need, counted on tensors that have shapes but no numbers."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(loss: Callable[[], torch.Tensor], module: nn.Module) -> int:
    """The largest number of bytes in use at once by all tensors that a loss and its gradients create. The module's
    weights and their gradients do not count. Memory that a kernel uses internally is not seen.

    :param loss: function that makes its own inputs and returns a scalar. It is called once, on tensors without numbers.
    :param module: module with all weights that ``loss`` uses; they stay unchanged. Weights on torch's meta device are
        taken to be on the CPU.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        own = {name: _without_numbers(each, mode) for name, each in module.state_dict(keep_vars=True).items()}
        ledger = _Ledger(own.values())
        with torch.enable_grad(), ledger:
            torch.func.functional_call(_Passes(module, loss), {f"module.{name}": each for name, each in own.items()})
        gradients = [each.grad for each in own.values() if each.grad is not None]
    return ledger.peak(gradients)


def _without_numbers(tensor: torch.Tensor, mode: Any) -> torch.Tensor:
    if tensor.device.type != "meta":
        return mode.from_tensor(tensor)
    return torch.empty(tensor.shape, dtype=tensor.dtype, requires_grad=tensor.requires_grad)


class _Passes(nn.Module):
    """Both passes as one call. Layers that are computed again for their gradients use the same weights."""

    def __init__(self, module: nn.Module, loss: Callable[[], torch.Tensor]) -> None:
        super().__init__()
        self.module, self._loss = module, loss

    def forward(self) -> None:
        self._loss().backward()


class _Ledger(TorchDispatchMode):
    """Memory that was allocated and freed, in order."""

    def __init__(self, known: Any) -> None:
        super().__init__()
        self._numbers = {each.untyped_storage()._cdata: -1 for each in known}
        self._entries: list[tuple[int, int]] = []
        self._references: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor):
                self._enter(each.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._numbers:
            return
        number = self._numbers[address] = len(self._entries)
        self._entries.append((number, size))

        def gone(_: object) -> None:
            self._entries.append((number, -size))
            del self._numbers[address], self._references[number]

        self._references[number] = weakref.ref(storage, gone)

    def peak(self, without: list[torch.Tensor]) -> int:
        """:param without: tensors that do not count."""
        left_out = {self._numbers.get(each.untyped_storage()._cdata) for each in without}
        there = most = 0
        for number, size in self._entries:
            there += 0 if number in left_out else size
            most = max(most, there)
        return most
