"""Networks without memory for their weights, to be filled from a file or to be measured."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules that are made inside have weights on the meta device, not initialised; their buffers are real. Import
    their classes before. (accelerate's function of this kind and initialisation on the meta device both load a
    compiler, which a server does not need.)
    """
    register = nn.Module.register_parameter
    initialise = {name: function for name, function in vars(nn.init).items() if re.fullmatch(r"[a-z]\w*_", name)}

    def on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        empty = None if parameter is None else nn.Parameter(parameter.to("meta"), parameter.requires_grad)
        register(module, name, empty)

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign]
    for name in initialise:
        setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
        for name, function in initialise.items():
            setattr(nn.init, name, function)
