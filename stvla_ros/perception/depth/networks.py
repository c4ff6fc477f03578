"""Parameters of the depth networks, checked without loading one. Imports no torch: a command checks them before it
starts anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvla_ros import hub
from stvla_ros.cuda_driver import check_device
from stvla_ros.errors import InputError

ZOEDEPTH_EXAMPLE = "Intel/zoedepth-nyu-kitti"
DEPTH_ANYTHING_EXAMPLE = "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"
_DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class ZoeDepthParameters:
    """Parameters of ``ZoeDepth``."""

    checkpoint: str = ZOEDEPTH_EXAMPLE
    device: str = "auto"
    dtype: str = "auto"

    def check(self) -> None:
        """:raises InputError: for a device, type or checkpoint that is not available."""
        check_device(self.device, "depth device")
        if self.dtype not in _DTYPES:
            raise InputError(f"depth dtype: expected one of {', '.join(_DTYPES)}, got {self.dtype!r}")
        _check_checkpoint(self.checkpoint)


@dataclass(frozen=True)
class DepthAnythingParameters(ZoeDepthParameters):
    """Parameters of ``DepthAnything``."""

    checkpoint: str = DEPTH_ANYTHING_EXAMPLE
    network_size: int = 518

    def check(self) -> None:
        if type(self.network_size) is not int or not 1 <= self.network_size <= 4096:
            raise InputError(f"depth network_size: expected 1 to 4096 pixels, got {self.network_size!r}")
        super().check()


NETWORKS: Mapping[str, type[ZoeDepthParameters]] = {
    "zoedepth": ZoeDepthParameters,
    "depth_anything": DepthAnythingParameters,
}


def _check_checkpoint(checkpoint: Any) -> None:
    if not isinstance(checkpoint, str):
        raise InputError(f"depth checkpoint: expected a folder or a hub id, got {checkpoint!r}")
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"depth checkpoint {checkpoint}: expected a file config.json, there is none")
        return
    if not hub.is_id(checkpoint):
        raise InputError(f"depth checkpoint: expected a folder with config.json or a hub id, got {checkpoint!r}")
    if not hub.is_cached(checkpoint, "config.json"):
        hub.check_id("depth checkpoint", checkpoint)
