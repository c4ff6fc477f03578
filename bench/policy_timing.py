"""Common parts of the policy's benches: inputs of the network, and times of several ways to the same result."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from stvla_ros.policy.spatialvla.actions.bin_fitting import PUBLISHED_GAUSSIANS, bins_from_gaussians
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.sizes import BOS

# <bos>, a short instruction, its line end.
TEXT_TOKENS = 12
DEPTH_M = 0.8
FOCAL_PIXELS = 224.0


def legal_ranges() -> tuple[tuple[int, int], ...]:
    """Legal ranges of the 12 tokens of a chunk, with the published bins."""
    tokenizer = bins_from_gaussians(PUBLISHED_GAUSSIANS)
    return tokenizer.legal_ranges * tokenizer.chunk_size


def network_inputs(model: SpatialVla, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A random picture (1, 3, S, S), the points (1, P, 12) of a wall in front of it, and a prompt (1, L)."""
    generator = torch.Generator().manual_seed(seed)
    config, device = model.config, model.device
    size = config.image_size
    pixels = torch.rand(1, 3, size, size, generator=generator).to(device)
    intrinsics = torch.tensor([[FOCAL_PIXELS, 0, size / 2], [0, FOCAL_PIXELS, size / 2], [0, 0, 1]], device=device)
    points = model.points(torch.full((1, size, size), DEPTH_M, device=device), intrinsics[None])
    words = torch.randint(BOS + 2, config.image_token_id, (TEXT_TOKENS - 1,), generator=generator)
    picture = torch.full((config.num_image_tokens,), config.image_token_id)
    ids = torch.cat([picture, torch.tensor([BOS]), words])[None].to(device)
    return pixels, points, ids


def time_ms(call: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Milliseconds of a call, until the device is done. :param clock: clock that tells seconds."""
    started = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - started) * 1e3


def interleave(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device = torch.device("cpu"),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Milliseconds (repeats,) of each call. They take turns, so that a slow moment of the machine affects all of them;
    a first round of each does not count.

    :param clock: clock that tells seconds; ``time.process_time`` tells what one thread computed, whatever else ran.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        time_ms(call, device)
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(time_ms(call, device, clock))
    return {name: np.array(values) for name, values in times.items()}


def spread(milliseconds: Sequence[float] | np.ndarray) -> str:
    """The median, and the range around it."""
    return f"{np.median(milliseconds):.3g} ({np.min(milliseconds):.3g}..{np.max(milliseconds):.3g})"
