"""The memory that a training of LoRA adapters on the published 4B shape needs, by batch size, and the largest batch for
each GPU. It is counted on tensors without numbers, so any machine can do it (half a minute of processor time, 1.5 GB).
The presets of ``config/train/st_vla_lora.yaml`` come from here.

Weights, gradients, AdamW's two numbers and the adapters are counted one by one. The further memory of the two passes is
counted for one sample and for two, operation by operation as on a CPU (a GPU's attention keeps less), and grows
linearly with the batch. The memory of a GPU's context and libraries, of its kernels, and the part that its allocator
cannot use are not seen: ``USABLE`` leaves room for them.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stvla_ros.learning.training.config import TrainingConfig, read_config
from stvla_ros.learning.training.memory_estimate import estimate_memory
from stvla_ros.policy.spatialvla.checkpoint import empty_model
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import write_small_files
from stvla_ros.policy.spatialvla.sizes import published_config
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable
from stvla_ros.policy.trainable import Start

RECIPE = Path(__file__).parents[1] / "config/train/st_vla_lora.yaml"
GPU_GB = (12, 24, 48, 80)
# Share of a GPU's memory, in 1e9 bytes as sold.
USABLE = 0.85
# Larger batches have not been tried with this recipe.
BATCHES = (1, 2, 4, 8, 16, 32)


def rows() -> list[dict[str, Any]]:
    """A row for each batch size, then one for each GPU."""
    needs = {checkpointing: needed_gb(checkpointing) for checkpointing in (False, True)}
    table = [
        {
            "what": f"4b, adapters of rank 32, bfloat16, batch {batch}",
            "gb": needs[False][batch],
            "with gradient_checkpointing": needs[True][batch],
        }
        for batch in BATCHES
    ]
    chosen = [
        {"what": f"{size} GB", "batch_size": batch, "gradient_checkpointing": checkpointing, "gb": gigabytes}
        for size in GPU_GB
        for batch, checkpointing, gigabytes in [choice(needs, size)]
    ]
    return [*table, *chosen]


def choice(needs: dict[bool, dict[int, float]], gpu_gb: float) -> tuple[int, bool, float]:
    """The batch size for a GPU, whether layers are computed again, and the memory for that (GB): the largest batch that
    fits without computing again, else with it.
    """
    for checkpointing in (False, True):
        fitting = [batch for batch, each in needs[checkpointing].items() if each <= USABLE * gpu_gb]
        if fitting:
            return max(fitting), checkpointing, needs[checkpointing][max(fitting)]
    raise ValueError(f"expected a GPU that one sample fits, got {gpu_gb} GB")


def needed_gb(checkpointing: bool, size: str = "4b") -> dict[int, float]:
    """GB by batch size, with the recipe's adapters and optimiser."""
    config = read_config(RECIPE, {"precision": "bfloat16", "gradient_checkpointing": checkpointing})
    with tempfile.TemporaryDirectory() as folder:
        trainable = counted_trainable(Path(folder), config, size)
        rest, one = _memory(trainable, config)
    two = trainable.activation_bytes(2)
    return {batch: (rest + one + (batch - 1) * (two - one)) / 1e9 for batch in BATCHES}


def _memory(trainable: SpatialVlaTrainable, config: TrainingConfig) -> tuple[int, int]:
    memory = estimate_memory(trainable, config)
    return memory.total - memory.activations, memory.activations


def counted_trainable(folder: Path, config: TrainingConfig, size: str) -> SpatialVlaTrainable:
    """A new model in the state of its adapters' training, without numbers. :param folder: folder for its small
    files.
    """
    shape = SpatialVlaConfig.from_dict(published_config(size))
    write_small_files(shape, folder)
    model = empty_model(shape, lean=True).to(torch.bfloat16)
    # The table is in the checkpoint's file and takes no memory; neither does this stand-in, which nothing reads.
    model.text_table = torch.empty(shape.text.vocab_size, shape.text.hidden_size, dtype=torch.bfloat16)
    random = np.random.default_rng(0)
    start = Start(
        base=folder,
        base_name=size,
        is_new=False,
        options=config.family_options(),
        objectives=frozenset(config.all_objectives()),
        inputs=config.inputs,
        lora=config.lora,
        actions=random.uniform(0.0, 0.02, (100, 7)),
        episodes=1,
        unnorm_key="counted",
        seed=config.seed,
        device=torch.device("cpu"),
        precision=torch.bfloat16,
        gradient_checkpointing=config.gradient_checkpointing,
    )
    return SpatialVlaTrainable(start, model)


if __name__ == "__main__":
    for row in rows():
        print(row)
