"""Small observations for the tests of the policy."""

from pathlib import Path

import numpy as np
import torch
from lam_scenes import SIZE, TINY, samples

from stvla_ros.policy.samples import Samples
from stvla_ros.policy.ssm_vla.config import new_policy_config
from stvla_ros.policy.ssm_vla.create import random_policy
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.model import Observations, SsmVla

POLICY = new_policy_config("tiny", TINY, SIZE)
INSTRUCTION = "put the spoon on the towel"


def awaken(model: SsmVla, seed: int = 0) -> SsmVla:
    """With heads that say something, and blocks that the time moves: new ones do not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow, picture = model.flow, model.picture
        parts = [flow.velocity, *(block.modulation for block in flow.blocks), picture.rgb_change, picture.depth_change]
        for part in filter(None, parts):
            torch.nn.init.normal_(part.weight, std=0.2)
    return model.eval()


def policy(seed: int = 0) -> SsmVla:
    return awaken(random_policy(TINY, POLICY, seed), seed)


def scene(batch: int = 1, seed: int = 0) -> Scene:
    """Noise, all of it known."""
    random = torch.Generator().manual_seed(seed)
    camera = torch.tensor([[40.0, 0, SIZE / 2], [0, 40.0, SIZE / 2], [0, 0, 1]])
    rgb = torch.rand(batch, 3, SIZE, SIZE, generator=random)
    return Scene(rgb, 0.5 + torch.rand(batch, SIZE, SIZE, generator=random), camera.expand(batch, 3, 3))


def observed(batch: int = 1, words: int = 5, seed: int = 0) -> Observations:
    random = torch.Generator().manual_seed(seed)
    return Observations(
        scene(batch, seed), scene(batch, seed + 1), torch.randint(1, 200, (batch, words), generator=random)
    )


def taught(lengths: tuple[int, ...] = (30,) * 4, unlabelled: int = 0) -> Samples:
    """Episodes of a moving square, whose actions are the way that it goes; of the last ones nobody knows them."""
    made = samples(lengths)
    actions = np.zeros((len(made), 7), np.float32)
    actions[:-1, :2] = np.diff(made.states[:, :2], axis=0)
    actions[made.last, :2] = 0.0
    actions[:, 6] = np.arange(len(made)) % 20 < 10
    actions[made.episode >= len(lengths) - unlabelled] = np.nan
    texts = tuple("" if number >= len(lengths) - unlabelled else INSTRUCTION for number in range(len(lengths)))
    return Samples(**{**vars(made), "actions": actions, "executed": actions, "instructions": texts})


def picture(seed: int = 0, height: int = 60, width: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, its depth in metres, and intrinsics."""
    random = np.random.default_rng(seed)
    depth = random.uniform(0.4, 1.2, (height, width)).astype(np.float32)
    camera = np.array([[70.0, 0, width / 2], [0, 70.0, height / 2], [0, 0, 1]])
    return random.integers(0, 256, (height, width, 3), np.uint8), depth, camera


def links(checkpoint: Path, folder: Path) -> Path:
    """A folder with links to a checkpoint's files, to be replaced one by one."""
    folder.mkdir(exist_ok=True)
    for file in checkpoint.iterdir():
        (folder / file.name).symlink_to(file)
    return folder
