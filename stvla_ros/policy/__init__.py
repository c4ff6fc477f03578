"""The policies, and the networks behind them."""

from typing import Any


def load_policy(path_or_id: str, device: str = "cpu", dtype: str = "float32", **options: Any) -> Any:
    """Load a checkpoint's network, with what prepares its inputs and decodes its outputs, for use without a graph.

    :param path_or_id: folder of a checkpoint or an adapter of any family, or its id on the Hugging Face hub.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto`` (``devices.parse_dtype``), ``float32``, ``float16`` or ``bfloat16``.
    :param options: options of the family's own ``load``.
    :returns: what the family's ``load`` gives: for SpatialVLA a ``SpatialVlaPredictor``.
    :raises InputError: for a checkpoint, device, type or option that cannot be used.
    """
    from stvla_ros.devices import parse_device, parse_dtype
    from stvla_ros.policy.checkpoint_places import find_checkpoint
    from stvla_ros.policy.families import family_of

    # Before anything is searched for, or even downloaded.
    parse_dtype(dtype, "dtype", parse_device(device, "device"))
    folder = find_checkpoint(str(path_or_id))
    return family_of(folder).load(folder, device, dtype, **options)
