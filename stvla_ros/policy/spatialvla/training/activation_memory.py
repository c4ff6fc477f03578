"""What a forward pass keeps for the backward pass, counted on tensors that have shapes and no numbers."""

import itertools
from collections.abc import Callable

import torch
from torch import nn


def saved_bytes(run: Callable[[], object], module: nn.Module) -> int:
    """Bytes that autograd keeps of a computation; the module's own weights are not among them.

    :param run: the computation, all of whose inputs it makes by itself; it is called once, and computes nothing.
    :param module: all that it uses of weights.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        owned = [
            mode.from_tensor(each).untyped_storage() for each in itertools.chain(module.parameters(), module.buffers())
        ]
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            result = run()
        own = {storage._cdata for storage in owned}
        total = sum(storage.nbytes() for number, storage in kept.items() if number not in own)
        del result
    return total
