"""The record of what a policy is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class InputsConfig:
    """What the policy is shown; the names are those of ``stvla eval`` (``acting/setup.py``).

    :param traces: where the traces are drawn: nowhere, on the depth map (ST-VLA), on the picture (as TraceVLA).
    :param depth: where metres come from (``depth_estimator_names()``): ``sensor``: the data's own depth; ``constant``:
        the same distance everywhere, the baseline without depth; a network.
    :param depth_parameters: the depth backend's own.
    :param tracker: name of the tracker.
    :param tracker_parameters: the tracker's own.
    :param buffer: frames in the trace window.
    :param variant: depth at which traces are drawn.
    :param adaptive: whether the window stretches while motion is slow.
    :param resize: how pictures come to the model's size.
    """

    traces: Literal["none", "depth", "rgb"] = "depth"
    depth: str = "sensor"
    depth_parameters: Mapping[str, Any] = field(default_factory=dict)
    tracker: str = "lucas_kanade"
    tracker_parameters: Mapping[str, Any] = field(default_factory=dict)
    buffer: int = 30
    variant: Literal["A", "B", "C"] = "C"
    adaptive: bool = True
    resize: Literal["bicubic", "area"] = "bicubic"
