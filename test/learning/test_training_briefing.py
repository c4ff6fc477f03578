"""The page before training says what is true of the data, the model and the run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import training_data
from training_data import EPISODES, FRAMES, demonstration, usual, write

from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.training import briefing as pages
from stvla_ros.learning.training.briefing import LINES, WIDTH
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.config_sections import DataConfig, OptimizerConfig
from stvla_ros.learning.training.memory_estimate import estimate_memory, optimizer_bytes
from stvla_ros.learning.training.selection import select_episodes
from stvla_ros.policy.inputs import InputsConfig
from stvla_ros.policy.lora import LoraConfig, trainable_parameters
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

REPOSITORY = Path(__file__).parents[2]
LORA = LoraConfig(rank=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    create_checkpoint(folder, "tiny")
    return folder


@pytest.fixture(scope="module")
def full(checkpoint: Path) -> SpatialVlaTrainable:
    return SpatialVlaTrainable(training_data.start(checkpoint))


@pytest.fixture(scope="module")
def adapted(checkpoint: Path) -> SpatialVlaTrainable:
    return SpatialVlaTrainable(training_data.start(checkpoint, lora=LORA, options=SpatialVlaOptions(refit_bins=False)))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> LeRobotReader:
    texts = ["stack the block"] * 7 + ["put the spoon on the towel"] * 3
    episodes = [demonstration(seed, instruction=text) for seed, text in enumerate(texts)]
    return write(tmp_path_factory.mktemp("data") / "ours", episodes)


def config(**changes) -> TrainingConfig:
    return TrainingConfig(**{"checkpoint": "out/checkpoints/tiny", "steps": 40, **changes})


def briefing(settings: TrainingConfig, readers: list[LeRobotReader], *further) -> str:
    selections = [select_episodes(reader, settings.data.episodes) for reader in readers]
    return pages.briefing(settings, selections, *further)


def lines_with(page: str, text: str) -> list[str]:
    return [line for line in page.splitlines() if text in line]


def megabytes(page: str, label: str) -> float:
    joined = " ".join(page.split())
    number, unit = re.search(rf"{label} ([\d.]+) (MB|GB)", joined).groups()
    return float(number) * (1000.0 if unit == "GB" else 1.0)


# --- data -------------------------------------------------------------------------------------------------------------


def test_data_sets_and_instructions_are_counted(reader: LeRobotReader, full: SpatialVlaTrainable) -> None:
    page = briefing(config(), [reader], full, 40, None)
    (line,) = lines_with(page, str(reader.info.path)[-30:])
    assert line.split()[:4] == [str(EPISODES), str(EPISODES), str(EPISODES * FRAMES), "5"]
    assert lines_with(page, "stack the block")[0].split()[:2] == ["7", str(7 * FRAMES)]
    assert lines_with(page, "put the spoon on the towel")[0].split()[:2] == ["3", str(3 * FRAMES)]
    (total,) = lines_with(page, "held out for validation")
    assert total.split()[:2] == [str(EPISODES), str(EPISODES * FRAMES)] and "all, 1 episodes" in total
    assert "widowx, with depth, camera, scene points" in page


def test_hours_are_frames_over_the_rate(tmp_path: Path, full: SpatialVlaTrainable) -> None:
    episodes = [
        demonstration(seed, frames=720, rgb=np.zeros((720, 8, 8, 3), np.uint8), depth=None) for seed in range(5)
    ]
    reader = write(tmp_path / "hour", episodes)
    (line,) = lines_with(briefing(config(), [reader], full, 40, None), str(tmp_path / "hour")[-20:])
    assert line.split()[4] == "0.20"  # 3600 frames at 5 a second


def test_only_the_chosen_episodes_are_counted(reader: LeRobotReader, full: SpatialVlaTrainable) -> None:
    page = briefing(config(data=DataConfig(episodes=2)), [reader], full, 40, None)
    (line,) = lines_with(page, str(reader.info.path)[-30:])
    assert line.split()[:3] == ["4", str(EPISODES), str(4 * FRAMES)]


def test_quantiles_are_in_millimetres_and_degrees(reader: LeRobotReader, full: SpatialVlaTrainable) -> None:
    page = briefing(config(), [reader], full, 40, None)
    actions = reader.actions().astype(np.float64)
    rows = [lines_with(page, f"{percent}% ")[0].split()[1:] for percent in (" 1", "50", "99")]
    expected = np.quantile(actions[:, :6], (0.01, 0.5, 0.99), axis=0) * ([1000.0] * 3 + [180.0 / np.pi] * 3)
    np.testing.assert_allclose(np.array(rows, dtype=float), expected, atol=0.0051)
    assert "gripper open in 50% of the frames" in page


# --- model ------------------------------------------------------------------------------------------------------------


def test_parts_and_adapters_are_counted(reader: LeRobotReader, adapted: SpatialVlaTrainable) -> None:
    page = briefing(config(lora=LORA), [reader], adapted, 40, None)
    trained = sum(parameter.numel() for parameter in trainable_parameters(adapted.module).values())
    whole = sum(parameter.numel() for parameter in adapted.network.parameters())
    (line,) = lines_with(page, "% trained")
    assert f"{trained / 1e3:.2f} k" in line and f"{whole / 1e6:.2f} M" in line and f"{trained / whole:.1%}" in line
    assert not lines_with(page, "vision_zoe_model"), "an adapter's training does not load the depth network"
    assert "adapters of rank 4, alpha 32, dropout 0 on 29 linear layers" in page
    assert lines_with(page, "train ")[0].split(maxsplit=1)[1] == "LoRA adapters on out/checkpoints/tiny"


@pytest.mark.parametrize(("name", "kept"), [("adamw", 2.0), ("muon", 1.0)])
def test_optimisers_memory_is_what_it_keeps_after_a_step(adapted: SpatialVlaTrainable, name: str, kept: float) -> None:
    from stvla_ros.learning.training.optimizer import make_optimizers

    settings = OptimizerConfig(name=name, learning_rate=1e-9)
    trained = trainable_parameters(adapted.module)
    optimizers = make_optimizers(trained, settings)
    for parameter in trained.values():
        parameter.grad = torch.ones_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    real = sum(v.numel() * v.itemsize for state in states for v in state.values() if torch.is_tensor(v) and v.ndim)
    assert optimizer_bytes(trained, settings) == real
    assert real == kept * sum(parameter.numel() * 4 for parameter in trained.values())


def test_memory_is_the_sum_of_its_parts(reader: LeRobotReader, full: SpatialVlaTrainable) -> None:
    settings = config(precision="float32", batch_size=8, optimizer=OptimizerConfig(ema=0.99))
    page = briefing(settings, [reader], full, 40, None)
    weights = sum(parameter.numel() * 4 for parameter in full.network.parameters())
    trained = sum(parameter.numel() * 4 for parameter in trainable_parameters(full.module).values())
    parts = {"weights": weights, "gradients": trained, "optimiser": 2 * trained, "average": trained}
    for label, size in parts.items():
        assert megabytes(page, f"[:+] {label}") == pytest.approx(size / 1e6, abs=0.1), label
    activations = estimate_memory(full, settings).activations
    assert megabytes(page, "memory about") == pytest.approx((sum(parts.values()) + activations) / 1e6, abs=0.2)


# Size, batch, rank of the adapters (0: all weights are trained), precision, gradient checkpointing.
SHAPES = [
    ("tiny", 24, 0, "float32", False),
    ("small", 24, 4, "float32", False),
    ("small", 24, 0, "bfloat16", True),
]
# In a process of its own, whose memory nobody else touches.
MEASURE = """
import gc, json, sys, tempfile
from pathlib import Path
sys.path.insert(0, "test/learning")
import torch
import training_data
from stvla_ros.policy.lora import LoraConfig, trainable_parameters
from stvla_ros.policy.spatialvla.create import create_checkpoint
from stvla_ros.policy.spatialvla.training.trainable import SpatialVlaTrainable

def memory(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

def step(trainable, batch):
    loss = trainable._usual_loss(batch)
    loss.backward()
    for parameter in trainable.module.parameters():
        parameter.grad = None

torch.set_num_threads(1)
size, batch, rank, precision, checkpointing = json.loads(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    create_checkpoint(Path(folder) / size, size)
    lora = LoraConfig(rank) if rank else None
    changes = dict(lora=lora, precision=getattr(torch, precision), gradient_checkpointing=checkpointing)
    trainable = SpatialVlaTrainable(training_data.start(Path(folder) / size, **changes))
    estimate = trainable.activation_bytes(batch)
    step(trainable, 1)  # what libraries keep from the first time on
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    step(trainable, batch)
    print(json.dumps([estimate, memory("VmHWM") - before]))
"""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_estimate_is_within_a_fifth_of_the_memory_that_a_step_takes(shape: tuple[object, ...]) -> None:
    command = [sys.executable, "-c", MEASURE, json.dumps(shape)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back to the kernel
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    estimate, real = json.loads(done.stdout)
    assert estimate == pytest.approx(real, rel=0.2)


def forward(trainable: SpatialVlaTrainable, batch: int) -> tuple[torch.Tensor, ...]:
    """Scores of random inputs, with the prompt that the estimate takes."""
    shape = trainable.network.config
    pictures, side = shape.num_image_tokens, shape.image_size
    torch.manual_seed(0)
    pixels, points = torch.rand(batch, 3, side, side), torch.rand(batch, pictures, 3 * shape.patch_resolution**2)
    ids, lengths = torch.ones(batch, pictures + 10, dtype=torch.int64), torch.full((batch,), pictures + 10)
    return trainable._forward(pixels, points, ids, lengths, torch.tensor([[[5, 5000, 8192]] * 4] * batch), None)[1]


def test_with_checkpointing_gradients_are_the_same_and_less_is_kept(checkpoint: Path) -> None:
    gradients, kept = [], []
    for checkpointing in (False, True):
        made = SpatialVlaTrainable(training_data.start(checkpoint, gradient_checkpointing=checkpointing))
        kept.append(estimate_memory(made, config(batch_size=2)).activations)
        sum(each.square().mean() for each in forward(made, 2)).backward()
        gradients.append({name: each.grad for name, each in made.network.named_parameters() if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    assert kept[1] < 0.75 * kept[0]  # of tiny's two layers, one and what the layers are computed from


def test_adapters_are_put_on_weights_of_the_precision_that_is_asked_for(checkpoint: Path) -> None:
    for precision in (torch.bfloat16, torch.float32):
        made = SpatialVlaTrainable(training_data.start(checkpoint, lora=LORA, precision=precision))
        assert made.network.dtype is precision
        assert {each.dtype for each in trainable_parameters(made.network).values()} == {torch.float32}


# --- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.5, "about 20 s at 0.5 s"), (30.0, "about 20 min at 30 s"), (600.0, "about 6 h 40 min"), (None, "not measured")],
)
def test_time_is_steps_times_the_measured_step(
    reader: LeRobotReader, full: SpatialVlaTrainable, seconds: float | None, said: str
) -> None:
    assert said in lines_with(briefing(config(), [reader], full, 40, seconds), "time ")[0]


def test_epochs_are_the_samples_over_the_frames_that_are_trained_on(
    reader: LeRobotReader, full: SpatialVlaTrainable
) -> None:
    page = briefing(config(batch_size=3, gradient_accumulation=9), [reader], full, 40, None)
    # 9 of 10 episodes with 12 frames each.
    assert lines_with(page, "steps ")[0].split(maxsplit=1)[1] == "40 of 3 x 9 samples, about 10 epochs"


def test_disk_is_counted(
    checkpoint: Path, reader: LeRobotReader, full: SpatialVlaTrainable, adapted: SpatialVlaTrainable
) -> None:
    page = briefing(config(), [reader], full, 40, None)
    assert megabytes(page, "prepared frames") == pytest.approx(EPISODES * FRAMES * (224 * 224 * 5 + 36) / 1e6, abs=0.1)
    numbers = sum(tensor.numel() for tensor in full.network.state_dict().values())
    assert megabytes(page, "result") == pytest.approx(2 * numbers / 1e6, abs=0.1)
    trained = sum(parameter.numel() for parameter in trainable_parameters(adapted.module).values())
    page = briefing(config(lora=LORA), [reader], adapted, 40, None)
    assert megabytes(page, "result") == pytest.approx(4 * trained / 1e6, abs=0.1)
    fitted = SpatialVlaTrainable(training_data.start(checkpoint, lora=LORA))
    refitted = briefing(config(lora=LORA), [reader], fitted, 40, None)
    # Embeddings of the action tokens, and their rows of the head.
    assert megabytes(refitted, "result") == pytest.approx((4 * trained + 2 * 4 * 8194 * 64) / 1e6, abs=0.1)
    assert megabytes(page, "state") == pytest.approx(12 * trained / 1e6, abs=0.1)


def test_places_of_the_results_are_named(reader: LeRobotReader, adapted: SpatialVlaTrainable, tmp_path: Path) -> None:
    settings = config(lora=LORA, output=str(tmp_path / "run"), data=DataConfig(cache=str(tmp_path / "cache")))
    page = briefing(settings, [reader], adapted, 40, None)
    assert lines_with(page, "result ")[-1].endswith(str(tmp_path / "run/adapter")[-80:])
    assert lines_with(page, "cache ")[0].endswith(str(tmp_path / "cache")[-80:])
    assert "state.pt" in page and "metrics.jsonl" in page


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (InputsConfig(), "picture, depth from sensor, traces on depth (variant C, 30 frames, adaptive"),
        (InputsConfig(traces="none", depth="constant"), "picture, the same depth everywhere, no traces"),
        (
            InputsConfig(traces="rgb", depth="zoedepth", adaptive=False),
            "depth from zoedepth, traces on rgb (30 frames, lucas_kanade), resize bicubic",
        ),
    ],
)
def test_what_the_policy_sees_is_said(
    reader: LeRobotReader, full: SpatialVlaTrainable, inputs: InputsConfig, said: str
) -> None:
    assert said in briefing(config(inputs=inputs), [reader], full, 40, None)


def test_much_data_with_long_names_still_is_one_page(tmp_path: Path, adapted: SpatialVlaTrainable) -> None:
    deep = tmp_path / ("a folder with a rather long name " * 3)
    texts = [f"instruction number {n}: " + "put it there " * 20 for n in range(30)]
    many = write(deep / "many", [demonstration(seed, instruction=text) for seed, text in enumerate(texts)], "")
    readers = [many, *(usual(deep / str(number), intrinsics=None) for number in range(8))]
    settings = config(
        checkpoint="x" * 150,
        lora=LORA,
        output=str(deep / "run"),
        optimizer=OptimizerConfig(name="muon", schedule="cosine", warmup_steps=1000, weight_decay=0.05, ema=0.9999),
    )
    page = briefing(settings, readers, adapted, 10**7, 123.456)
    assert len(page.splitlines()) <= LINES and max(map(len, page.splitlines())) <= WIDTH
    assert "and 3 more data sets" in page and "and 19 more instructions" in page
    assert "unknown robot" in page


def test_small_data_set_leaves_room_on_the_page(reader: LeRobotReader, adapted: SpatialVlaTrainable) -> None:
    page = briefing(config(lora=LORA), [reader], adapted, 40, 0.5)
    assert len(page.splitlines()) <= 40 and all(line == line.rstrip() for line in page.splitlines())
