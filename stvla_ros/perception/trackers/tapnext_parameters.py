"""Parameters of TAPNext, and whether it is available. Imports no torch: a command checks them before it starts
anything.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from stvla_ros.cuda_driver import check_device
from stvla_ros.errors import InputError

REPOSITORY = "google-deepmind/tapnet"
WEIGHTS = "https://storage.googleapis.com/dm-tapnet/tapnextpp/tapnextpp_ckpt.pt"
PICTURE_SIZES = (256, 512)
# Modules of other packages that its code imports.
_NEEDED = ("tapnet", "torchvision", "einops")


@dataclass(frozen=True)
class TapNextParameters:
    """:param checkpoint: file with the weights: torch's (TAPNext++), or ``.npz`` (TAPNext, BootsTAPNext).
    :param device: device that runs the network: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param picture_size: side in pixels of the picture that the network sees; what its weights were trained for.
    :param grid_size: number of points along each side of the grid.
    :param reseed_every: number of frames after which hidden points are given up and gaps in the grid are filled.
    """

    checkpoint: str = ""
    device: str = "cpu"
    picture_size: int = 256
    grid_size: int = 10
    reseed_every: int = 30

    def __post_init__(self) -> None:
        if self.picture_size not in PICTURE_SIZES:
            sizes = " or ".join(map(str, PICTURE_SIZES))
            raise InputError(f"tapnext picture_size: expected {sizes}, got {self.picture_size!r}")
        if not 1 <= self.grid_size <= 100:
            raise InputError(f"tapnext grid_size: expected 1 to 100, got {self.grid_size}")
        if not 2 <= self.reseed_every <= 100_000:
            raise InputError(f"tapnext reseed_every: expected 2 to 100000 frames, got {self.reseed_every}")

    def check_installed(self) -> None:
        """:raises InputError: when device, package or weights are missing; the message says how to get them."""
        check_device(self.device, "tapnext device")
        for name in _NEEDED:
            if importlib.util.find_spec(name) is None:
                raise self.not_installed(f"No module named {name!r}")
        self.check_weights()

    def check_weights(self) -> None:
        """:raises InputError: when ``checkpoint`` is no file."""
        if not Path(self.checkpoint).is_file():
            raise InputError(
                f"tapnext checkpoint: expected a file with weights, got {self.checkpoint!r}; get it from {WEIGHTS} "
                f"(Apache-2.0)"
            )

    def not_installed(self, reason: str) -> InputError:
        return InputError(
            f"tapnext: the package is not installed ({reason}); get it with `pip install --no-deps "
            f"git+https://github.com/{REPOSITORY}` and `pip install einops torchvision`, and the weights from "
            f"{WEIGHTS} (both Apache-2.0)"
        )
