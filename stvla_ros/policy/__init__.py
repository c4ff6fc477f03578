"""The policies, and the networks behind them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stvla_ros.policy.spatialvla.predictor import SpatialVlaPredictor


def load_policy(path_or_id: str, device: str = "cpu", dtype: str = "float32", **options: Any) -> "SpatialVlaPredictor":
    """See :func:`stvla_ros.policy.spatialvla.family.load_policy`; torch is imported only here."""
    from stvla_ros.policy.spatialvla import family as loading

    return loading.load_policy(path_or_id, device, dtype, **options)
