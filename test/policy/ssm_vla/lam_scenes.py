"""Small clips for the tests of the latent action model: a square moves over a ground, nearer than it."""

import numpy as np
import torch

from stvla_ros.policy.samples import Samples
from stvla_ros.policy.ssm_vla.config import LamConfig, new_lam_config
from stvla_ros.policy.ssm_vla.create import random_model
from stvla_ros.policy.ssm_vla.lam.latent_action_model import Clip, LatentActionModel
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene

TINY = new_lam_config("tiny")
SIZE = TINY.picture_size
KEYFRAMES = len(TINY.keyframes_s)


def model(config: LamConfig = TINY, seed: int = 0) -> LatentActionModel:
    """With a decoder that predicts some change: a new one predicts none."""
    made = random_model(config, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for head in (made.decoder.rgb_change, made.decoder.depth_change):
            if head is not None:
                torch.nn.init.normal_(head.weight, std=0.02)
    return made.eval()


def clip(batch: int = 2, seed: int = 0, size: int = SIZE, keyframes: int = KEYFRAMES) -> Clip:
    """Noise, all of it known."""
    random = torch.Generator().manual_seed(seed)
    frames = batch * (keyframes + 1)
    rgb = torch.rand(frames, 3, size, size, generator=random)
    depth = 0.5 + torch.rand(frames, size, size, generator=random)
    camera = torch.tensor([[40.0, 0, size / 2], [0, 40.0, size / 2], [0, 0, 1]])
    return Clip(Scene(rgb, depth, camera.expand(frames, 3, 3)), torch.ones(batch, keyframes, dtype=torch.bool))


def with_frame(given: Clip, number: int, of: Clip) -> Clip:
    """The clips with another frame (0: the current one) in place of one of theirs."""
    frames, step = given.frames, given.valid.shape[1] + 1
    parts = [each.clone() for each in (frames.rgb, frames.depth, frames.intrinsics)]
    for part, other in zip(parts, (of.frames.rgb, of.frames.depth, of.frames.intrinsics), strict=True):
        part[number::step] = other[number::step]
    return Clip(Scene(*parts), given.valid)


def moving_square(path: np.ndarray, size: int = SIZE, side: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """
    :param path: (N, 2) whole pixels, x and y of the square's corner.
    :returns: (N, S, S, 3) uint8 and (N, S, S) float16 metres: ground at 1 m, the square at 0.7 m.
    """
    rgb = np.full((len(path), size, size, 3), (40, 70, 50), np.uint8)
    depth = np.ones((len(path), size, size), np.float16)
    for frame, (x, y) in enumerate(path):
        rgb[frame, y : y + side, x : x + side] = (230, 60, 40)
        depth[frame, y : y + side, x : x + side] = 0.7
    return rgb, depth


def bounces(frames: int, seed: int, size: int = SIZE, side: int = 8) -> np.ndarray:
    """(frames, 2): a walk that is reflected at the border."""
    random = np.random.default_rng(seed)
    place, way, room = random.integers(0, size - side, 2), random.choice([-4, -2, 2, 4], 2), size - side
    found = []
    for _ in range(frames):
        found.append(place.copy())
        if random.random() < 0.2:
            way = random.choice([-4, -2, 2, 4], 2)
        place = place + way
        way = np.where((place < 0) | (place > room), -way, way)
        place = np.where(place < 0, -place, np.where(place > room, 2 * room - place, place))
    return np.array(found)


def samples(lengths: tuple[int, ...] = (20, 20), rate: float = 5.0, seed: int = 0) -> Samples:
    """Episodes of a moving square; the state tells where it is."""
    paths = [bounces(length, seed + number) for number, length in enumerate(lengths)]
    seen = [moving_square(path) for path in paths]
    count = sum(lengths)
    states = np.zeros((count, 7), np.float32)
    states[:, :2] = np.concatenate(paths) / 100.0
    camera = np.array([[40.0, 0, SIZE / 2], [0, 40.0, SIZE / 2], [0, 0, 1]], np.float32)
    nothing = np.full((count, 7), np.nan, np.float32)
    return Samples(
        prepared={
            "pictures": np.concatenate([rgb for rgb, _ in seen]),
            "depths": np.concatenate([depth for _, depth in seen]),
            "intrinsics": np.repeat(camera[None], count, axis=0),
        },
        actions=nothing,
        executed=nothing,
        states=states,
        scene_points=np.full((count, 3, 3), np.nan, np.float32),
        stamps=np.concatenate([np.round(np.arange(length) * 1e9 / rate).astype(np.int64) for length in lengths]),
        episode=np.repeat(np.arange(len(lengths)), lengths),
        last=np.repeat(np.cumsum(lengths) - 1, lengths),
        instructions=("",) * len(lengths),
    )
