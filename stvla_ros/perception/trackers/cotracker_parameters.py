"""Parameters of CoTracker, and whether it is available. Imports no torch: a command checks them before it starts
anything.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from stvla_ros.cuda_driver import check_device
from stvla_ros.errors import InputError

LICENCE = "its code and weights are under CC-BY-NC-4.0, for non-commercial use only"
REPOSITORY = "facebookresearch/co-tracker"
MODES = ("offline", "online")
OFFLINE_WINDOW, ONLINE_WINDOW = 60, 16  # frames, what the published weights were trained for


@dataclass(frozen=True)
class CoTrackerParameters:
    """:param mode: mode of tracking, ``offline`` or ``online``.
    :param checkpoint: file with the weights, ``scaled_offline.pth`` or ``scaled_online.pth``, for the installed
        package.
    :param hub: whether code and weights come through ``torch.hub`` (its cache, else the network) instead.
    :param device: device that runs the network: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param grid_size: number of points along each side of the grid.
    :param session_frames: number of frames after which ``online`` begins a new video.
    """

    mode: str = "offline"
    checkpoint: str = ""
    hub: bool = False
    device: str = "cpu"
    grid_size: int = 10
    session_frames: int = 64

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"cotracker mode: expected one of {', '.join(MODES)}, got {self.mode!r}")
        if not 1 <= self.grid_size <= 100:
            raise InputError(f"cotracker grid_size: expected 1 to 100, got {self.grid_size}")
        if self.session_frames < 2 * ONLINE_WINDOW:
            least = 2 * ONLINE_WINDOW
            raise InputError(f"cotracker session_frames: expected at least {least}, got {self.session_frames}")

    def check_installed(self) -> None:
        """:raises InputError: when device, package or weights are missing; the message says how to get them, and the
        licence.
        """
        check_device(self.device, "cotracker device")
        if self.hub:
            return  # torch.hub finds out, and downloads
        if importlib.util.find_spec("cotracker") is None:
            raise self.not_installed("No module named 'cotracker'")
        self.check_weights()

    def check_weights(self) -> None:
        """:raises InputError: when ``checkpoint`` is no file."""
        if not Path(self.checkpoint).is_file():
            raise InputError(
                f"cotracker checkpoint: expected the file {self._weights}, got {self.checkpoint!r}; get it from "
                f"https://huggingface.co/facebook/cotracker3, or set hub; {LICENCE}"
            )

    def not_installed(self, reason: str) -> InputError:
        return InputError(
            f"cotracker: the package is not installed ({reason}); get it with "
            f"`pip install git+https://github.com/{REPOSITORY}` and the weights {self._weights} from "
            f"https://huggingface.co/facebook/cotracker3, or set hub; {LICENCE}"
        )

    @property
    def _weights(self) -> str:
        return f"scaled_{self.mode}.pth"
