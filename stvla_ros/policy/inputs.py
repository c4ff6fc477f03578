"""The record of what a policy is shown: one list for the graph, evaluation, training and the doctor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from stvla_ros.errors import InputError
from stvla_ros.perception.compositor import VARIANTS, CompositorConfig
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.perception.depth.registry import DEPTH_ESTIMATORS, check_depth_estimator
from stvla_ros.perception.frame_buffer import check_buffer_size
from stvla_ros.perception.moving_points import ONE_A_BODY, SelectionParameters
from stvla_ros.perception.spatial_traces import SpatialTracesConfig
from stvla_ros.perception.trackers import TRACKERS, check_tracker
from stvla_ros.perception.tracking import TrackingConfig
from stvla_ros.settings import build

BESIDE = "beside"
TRACES = ("none", "depth", "rgb", BESIDE)
"""What the traces are drawn on: nothing (as SpatialVLA), the depth (ST-VLA), the picture (as TraceVLA). With ``beside``
nothing is drawn, and the network gets the traces as numbers (``PolicyFamily.takes_traces``)."""
RESIZE_METHODS = ("bicubic", "area")

# Fields that have no effect, by what the traces are drawn on.
_WITHOUT_EFFECT = {
    "none": frozenset({"tracker", "tracker_parameters", "buffer", "variant", "drawing", "adaptive"}),
    "rgb": frozenset({"variant", "drawing"}),
    "depth": frozenset(),
    BESIDE: frozenset({"variant", "drawing"}),
}
# The network fixes the size of the map.
_DRAWING = tuple(each.name for each in fields(CompositorConfig) if each.name not in ("variant", "size"))
# The backend's own parameters, by its name.
_PARAMETERS_OF = {"depth": "depth_parameters", "tracker": "tracker_parameters"}


@dataclass(frozen=True)
class InputsConfig:
    """What a policy is shown.

    :param traces: place of the traces: ``none``, drawn on the depth map (``depth``, ST-VLA), drawn on the picture
        (``rgb``, as TraceVLA), or ``beside``: not drawn, and given to the network as numbers beside the plain depth.
    :param depth: source of the depth (``DEPTH_ESTIMATORS``). ``sensor``: the camera's or the data's own; ``constant``:
        the same distance everywhere, the baseline without depth; else a network.
    :param depth_parameters: parameters of the depth backend.
    :param tracker: name of the tracker.
    :param tracker_parameters: parameters of the tracker.
    :param buffer: length of the trace window, frames.
    :param variant: rule for the depth at which traces are drawn.
    :param drawing: further parameters of the drawing by name (``CompositorConfig``: line_width, age_step, near_depth,
        ignore_robot, …).
    :param adaptive: whether the window stretches while motion is slow.
    :param resize: method of resizing pictures to the model's size.
    :raises InputError: naming the field that cannot be used.
    """

    traces: Literal["none", "depth", "rgb", "beside"] = "depth"
    depth: str = SpatialTracesConfig.depth
    depth_parameters: Mapping[str, Any] = field(default_factory=dict)
    tracker: str = TrackingConfig.tracker
    tracker_parameters: Mapping[str, Any] = field(default_factory=dict)
    buffer: int = TrackingConfig.buffer
    variant: Literal["A", "B", "C"] = CompositorConfig.variant
    drawing: Mapping[str, Any] = field(default_factory=dict)
    adaptive: bool = TrackingConfig.adaptive
    resize: Literal["bicubic", "area"] = "bicubic"

    def __post_init__(self) -> None:
        choices = {
            "traces": TRACES,
            "variant": VARIANTS,
            "adaptive": (True, False),
            "resize": RESIZE_METHODS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {', '.join(map(str, allowed))}")
        for name in (*_PARAMETERS_OF.values(), "drawing"):
            if not isinstance(getattr(self, name), Mapping):
                self._refuse(name, "a mapping")
        DEPTH_ESTIMATORS.check(self.depth)
        TRACKERS.check(self.tracker)
        check_buffer_size(self.buffer)
        self._compositor()
        if self.depth == NO_DEPTH and self.traces in ("depth", BESIDE):
            # Every point drawn on it would keep a depth of its own, and metres of motion would be invented.
            self._refuse("traces", f"none or rgb with depth {NO_DEPTH}")

    def _refuse(self, name: str, expected: str) -> None:
        raise InputError(f"{name}: expected {expected}, got {getattr(self, name)!r}")

    def _compositor(self) -> CompositorConfig:
        """:raises InputError: naming what of ``drawing`` cannot be used."""
        for name in self.drawing:
            if name not in _DRAWING:
                raise InputError(f"drawing: expected some of {', '.join(_DRAWING)}, got {name!r}")
        return build(CompositorConfig, {**self.drawing, "variant": self.variant}, "drawing.")

    @property
    def summary(self) -> str:
        """The policy's inputs, in words."""
        on = "beside the depth" if self.traces == BESIDE else f"on {self.traces}"
        traces = f"traces {on}" if self.traces != "none" else "no traces"
        if self.traces != "none":
            drawn = "".join(f"{name} {value}, " for name, value in self.drawing.items())
            variant = f"variant {self.variant}, {drawn}" if self.traces == "depth" else ""
            adaptive = ", adaptive" if self.adaptive else ""
            traces += f" ({variant}{self.buffer} frames{adaptive}, {self.tracker})"
        depth = "the same depth everywhere" if self.depth == NO_DEPTH else f"depth from {self.depth}"
        return f"picture, {depth}, {traces}, resize {self.resize}"

    def check_backends(self) -> None:
        """Refuse now what building the perception would refuse. Loads no network.

        :raises InputError: for a parameter of tracker or depth that is unknown or cannot be used, or a network that is
            not available.
        """
        check_depth_estimator(self.depth, self.depth_parameters)
        if "tracker" not in _WITHOUT_EFFECT[self.traces]:
            check_tracker(self.tracker, self.tracker_parameters)

    def perception(self) -> SpatialTracesConfig:
        """The part of the record that the perception needs."""
        return SpatialTracesConfig(
            TrackingConfig(
                tracker=self.tracker,
                buffer=self.buffer,
                adaptive=self.adaptive,
                selection=ONE_A_BODY if self.traces == BESIDE else SelectionParameters(),
                tracker_parameters=self.tracker_parameters,
            ),
            self.depth,
            self.depth_parameters,
            self._compositor() if self.traces == "depth" else CompositorConfig(variant=self.variant),
        )


INPUT_NAMES = tuple(each.name for each in fields(InputsConfig))


def input_values(inputs: InputsConfig) -> dict[str, Any]:
    """The record as a mapping."""
    return {name: getattr(inputs, name) for name in INPUT_NAMES}


def overridden(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record, with the given ones in place of its own, and everything that follows from these.

    :param values: values by field of :class:`InputsConfig`.
    :param given: values that replace some of them, by field.
    """
    follows: dict[str, Any] = {}
    for backend, parameters in _PARAMETERS_OF.items():
        if backend in given and given[backend] != values[backend]:
            follows[parameters] = {}  # those of another backend
    if given.get("depth") == NO_DEPTH:
        follows["traces"] = "none"
    return {**values, **follows, **given}


def differences(inputs: InputsConfig, trained: Mapping[str, Any]) -> list[str]:
    """One line for every field in which ``inputs`` differs from what a checkpoint was trained with.

    :param trained: values by field of :class:`InputsConfig`, as far as they are known.
    """
    lines = []
    silent = set(_WITHOUT_EFFECT[inputs.traces])
    # Parameters of another backend no longer matter.
    used = input_values(inputs)
    silent |= {own for backend, own in _PARAMETERS_OF.items() if used[backend] != trained.get(backend, used[backend])}
    for name, value in used.items():
        if name not in silent and value != trained.get(name, value):
            lines.append(f"{name}: {_word(value)} is used, the checkpoint was trained with {_word(trained[name])}")
    return lines


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(dict(value) if isinstance(value, Mapping) else value)
