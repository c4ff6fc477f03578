"""`message_filters`, `cv_bridge` and `tf_transformations`: the ROS distribution's if installed, otherwise a small
fallback for each.

    from stvla_ros.nodes.kit.compat import cv_bridge, message_filters, tf_transformations

The fallbacks have the same names and behaviour for everything that this package uses; `test/nodes/test_compat_*.py`
describes the behaviour and passes with both. Each is resolved on first use, so that a node that joins stamps does not
load OpenCV.
"""

import importlib
import importlib.util
import pathlib
import sys
from types import ModuleType

import numpy as np

__all__ = ["cv_bridge", "message_filters", "tf_transformations"]


def _matches_numpy(cv_bridge_folder: pathlib.Path) -> bool:
    """Whether cv_bridge's compiled part was built for the NumPy in use.

    A part built for NumPy 1 crashes the whole process when NumPy 2 loads it (for example, a distribution's cv_bridge in
    a newer virtual environment). So it must be recognised without loading it: only code that was built with NumPy 2's
    headers names the module `numpy._core`.
    """
    if int(np.__version__.split(".")[0]) < 2:
        return True
    compiled = list((cv_bridge_folder / "boost").glob("cv_bridge_boost*"))
    return bool(compiled) and all(b"numpy._core._multiarray_umath" in part.read_bytes() for part in compiled)


def _usable(name: str) -> bool:
    if name in sys.modules:
        return True
    spec = importlib.util.find_spec(name)
    if spec is None:
        return False
    return name != "cv_bridge" or _matches_numpy(pathlib.Path(spec.origin).parent)


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(name if _usable(name) else f"{__name__}._{name}")
    globals()[name] = module
    return module
