"""One training step of adapters on the published shape, on a CPU: that it fits, and that the page before it knew."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file

from stvla_ros.policy.checkpoints import INDEX
from stvla_ros.policy.spatialvla.checkpoint import empty_model, published_name
from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
from stvla_ros.policy.spatialvla.create import write_small_files
from stvla_ros.policy.spatialvla.sizes import published_config

REPOSITORY = Path(__file__).parents[2]
FREE_BYTES, DISK_BYTES = 14e9, 12e9
SHARD_BYTES = 1.5e9
MOST_BYTES = 9.5e9
# Its own peak: getrusage's begins with that of the process that started it. `bare` is Python with torch and peft.
STEP = """
import json, sys
from pathlib import Path
import numpy as np
import torch
import peft
sys.path[:0] = ["test/learning"]
import training_data
from bench.training_step import random_samples
from stvla_ros.learning.training.memory_estimate import estimate_memory
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.loop import Trainer
from stvla_ros.freed_memory import keep_freed_memory
from stvla_ros.learning.training.stages import make_stages
from stvla_ros.policy.lora import LoraConfig, trainable_parameters
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

def memory(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

torch.set_num_threads(1)
keep_freed_memory(whatever_its_size=True)
bare = memory("VmRSS")
lora, samples = LoraConfig(), random_samples()
config = TrainingConfig(checkpoint=sys.argv[1], steps=1, precision="bfloat16", lora=lora)
trainable = SpatialVlaTrainable(training_data.start(Path(sys.argv[1]), lora=lora, precision=torch.bfloat16))
trainable.use(samples)
estimate = estimate_memory(trainable, config)
frames = np.arange(len(samples))
stages = make_stages(config.all_stages(1), trainable_parameters(trainable.module))
trainer = Trainer(config, trainable, stages, [frames], frames, torch.device("cpu"))
figures = trainer.train_step()
moved = sum(bool(each.any()) for name, each in trainer.trained.items() if ".lora_B." in name)
print(json.dumps({
    "bare": bare, "peak": memory("VmHWM"), "estimate": estimate.total, "figures": figures, "moved": moved,
}))
"""


@pytest.fixture
def published_shape(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of the published shape in bfloat16, of a million random numbers over and over, without the depth
    network, which a training of adapters does not load.
    """
    if psutil.virtual_memory().available < FREE_BYTES:
        pytest.skip(f"needs {FREE_BYTES / 1e9:g} GB of free memory, {psutil.virtual_memory().available / 1e9:.1f} are")
    if psutil.disk_usage(str(tmp_path)).free < DISK_BYTES:
        pytest.skip(
            f"needs {DISK_BYTES / 1e9:g} GB of disk, {psutil.disk_usage(str(tmp_path)).free / 1e9:.1f} are free"
        )
    folder = tmp_path / "4b"
    try:
        folder.mkdir()
        write_checkpoint(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_checkpoint(folder: Path) -> None:
    config = SpatialVlaConfig.from_dict(published_config("4b"))
    config.write(folder, "bfloat16")
    write_small_files(config, folder)
    tile = 0.02 * torch.randn(2**20, generator=torch.Generator().manual_seed(0)).bfloat16()
    shard, files = {}, {}

    def write() -> None:
        file = f"model-{len(set(files.values())):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        files.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, tensor in empty_model(config).state_dict().items():
        if not name.startswith("vision_zoe_model."):
            times = -(-tensor.numel() // len(tile))
            shard[published_name(name)] = tile.repeat(times)[: tensor.numel()].view(tensor.shape).clone()
        if sum(each.nbytes for each in shard.values()) > SHARD_BYTES:
            write()
    write()
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))


@pytest.mark.slow
def test_a_step_of_adapters_on_the_published_shape_takes_the_memory_that_the_page_says(published_shape: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(published_shape)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["figures"]["gradient_norm"] > 0 and said["moved"] == 347
    assert said["peak"] < MOST_BYTES
    assert said["estimate"] == pytest.approx(said["peak"] - said["bare"], rel=0.2)
