"""``load_policy``: from the name of a checkpoint to something that predicts."""

from typing import Any

from stvla_ros.devices import parse_device, parse_dtype
from stvla_ros.policy.checkpoints import find_checkpoint, read_json
from stvla_ros.policy.spatialvla.adapters import is_adapter, merge_into, read_adapter
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.predictor import PROCESSOR_CONFIG, SpatialVlaPredictor
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer


def load_policy(path_or_id: str, device: str = "cpu", dtype: str = "float32", **options: Any) -> SpatialVlaPredictor:
    """Load a SpatialVLA checkpoint, or an adapter merged into the checkpoint that it was trained on.

    :param path_or_id: a folder in the published layout or with an adapter (adapters.py), or an id on the Hugging Face
        hub of either.
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param dtype: ``auto`` (bfloat16 on CUDA, else float32), ``float32``, ``float16`` or ``bfloat16``.
    :param options: ``accelerations``, ``resize``, ``temperature``, ``seed`` of ``SpatialVlaPredictor``.
    :raises InputError: for a checkpoint, device or type that cannot be used.
    """
    target = parse_device(device, "device")
    kind = parse_dtype(dtype, "dtype", target)
    directory = find_checkpoint(str(path_or_id))
    # The small files first: what is wrong with them should not take the loading of gigabytes to be found.
    adapter = read_adapter(directory) if is_adapter(directory) else None
    base = adapter.base if adapter else directory
    config = SpatialVlaConfig.read(base)
    # Bins and statistics are those that the adapter was trained with.
    processor = read_json(directory / PROCESSOR_CONFIG)
    prompt_tokenizer = PromptTokenizer.load(
        base, config.image_token_id, config.text.vocab_size, config.num_image_tokens
    )
    model = load_model(base, target, kind)
    if adapter:
        merge_into(model, adapter)
    return SpatialVlaPredictor(model, prompt_tokenizer, processor, **options)
