"""A whole family of policies in one file: a linear map from a small picture with depth, and where the arm was one step
before, to a chunk of actions. No tokens, no pretrained network. It learns little; it proves the seam.
"""

import json
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, InputNeeds, Policy
from stvla_ros.policy.checkpoints import new_folder, read_json
from stvla_ros.policy.families import ACTIONS, PolicyFamily
from stvla_ros.policy.samples import Preparation
from stvla_ros.policy.thoughts import Points
from stvla_ros.policy.trainable import Losses, Trainable

WEIGHTS, CONFIG = "model.safetensors", "config.json"
SIDE = 6
FEATURES = 4 * SIDE * SIDE
SMOOTH = "smooth"


def features(picture) -> np.ndarray:
    """(FEATURES,) float32: colours and metres on a coarse grid."""
    height, width = picture.rgb.shape[:2]
    rows, columns = (np.linspace(0, n - 1, SIDE).astype(int) for n in (height, width))
    deep = picture.depth
    down, right = (np.linspace(0, n - 1, SIDE).astype(int) for n in deep.shape)
    colours = picture.rgb[np.ix_(rows, columns)].astype(np.float32) / 255.0
    return np.concatenate([colours.ravel(), deep[np.ix_(down, right)].ravel()]).astype(np.float32)


@dataclass(frozen=True)
class LinearOptions:
    """
    :param horizon: actions of a chunk.
    :raises InputError: for a value out of range.
    """

    horizon: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= 16:
            raise InputError(f"horizon: expected 1 to 16, got {self.horizon}")


@dataclass(frozen=True)
class LinearPreparation(Preparation):
    def arrays(self):
        return {"features": ((FEATURES,), np.float32)}

    def __call__(self, observation):
        return {"features": features(observation.picture)}


class LinearPolicy(Policy):
    """:param checkpoint: folder. :param scale: of the translations."""

    name = "linear"
    needs = InputNeeds(history_s=0.2, committed=True)

    def __init__(self, checkpoint: str, scale: float = 1.0) -> None:
        self._checkpoint, self._scale, self.seen_before, self.committed = checkpoint, scale, 0, 0

    def load(self) -> None:
        from safetensors.numpy import load_file

        self._weights = load_file(f"{self._checkpoint}/{WEIGHTS}")

    def predict(self, observation):
        before = observation.before(0.2)
        self.seen_before, self.committed = int(before is not None), len(observation.committed)
        now = features(observation.picture)
        then = now if before is None else features(before.pictures["image"])
        rows = self._weights["map.weight"] @ np.concatenate([now, then]) + self._weights["map.bias"]
        chunk = np.clip(rows.reshape(-1, 7), [-0.02] * 3 + [-0.1] * 3 + [0.0], [0.02] * 3 + [0.1] * 3 + [1.0])
        actions = tuple(EndEffectorAction(self._scale * row[:3], row[3:6], float(row[6])) for row in chunk)
        middle = np.array(observation.picture.rgb.shape[1::-1]) / 2.0
        return Answer(actions, {"looks at": Points(middle[None]), "plan": f"{len(actions)} actions"})


class LinearTrainable(Trainable):
    def __init__(self, start) -> None:
        import torch
        from safetensors.torch import load_file

        self._start, self._horizon = start, start.options.horizon
        if read_json(start.base / CONFIG)["horizon"] != self._horizon:
            raise InputError(f"family.options.horizon: expected that of {start.base}, got {self._horizon}")
        net = torch.nn.Module()
        net.map = torch.nn.Linear(2 * FEATURES, 7 * self._horizon)
        net.load_state_dict(load_file(start.base / WEIGHTS))
        self.network = self.module = net.to(start.device)
        self.preparation = LinearPreparation()
        self.summary = "linear"

    def use(self, samples) -> None:
        self._samples = samples

    def batch(self, indices, augmentation=None):
        import torch

        steps, valid = self._samples.chunks(indices, self._horizon)
        before, _ = self._samples.at(indices, -0.2)
        rows = [self._samples.prepared["features"][each] for each in (indices, before)]
        return LinearBatch(
            torch.from_numpy(np.concatenate(rows, axis=1)),
            torch.from_numpy(self._samples.actions[steps]),
            torch.from_numpy(valid),
        )

    def losses(self, batch, objectives, errors=False):
        said = self.network.map(batch.seen).view(len(batch.seen), -1, 7)
        wrong = (said - batch.actions).square().mean(dim=-1)
        losses = {ACTIONS: (wrong * batch.valid).mean(), SMOOTH: said.diff(dim=1).square().mean()}
        parts = (
            {"translation_error_mm": 1000.0 * (said - batch.actions)[:, 0, :3].norm(dim=-1).mean()} if errors else {}
        )
        return Losses({name: losses[name] for name in objectives}, parts)

    def activation_bytes(self, batch_size):
        return 4 * batch_size * 2 * FEATURES

    def result_bytes(self):
        return 4 * sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, folder) -> None:
        write(folder, {name: value.detach().cpu().numpy() for name, value in self.network.state_dict().items()})


@dataclass(frozen=True)
class LinearBatch:
    seen: object
    actions: object
    valid: object

    def to(self, device):
        return LinearBatch(*(value.to(device) for value in vars(self).values()))


class LinearFamily(PolicyFamily):
    name = "linear"
    model_types = ("linear",)
    sizes = ("small",)
    options = LinearOptions
    objectives = {ACTIONS: (), SMOOTH: ()}
    policy = LinearPolicy

    def create(self, folder, size, seed) -> None:
        if size not in self.sizes:
            raise InputError(f"size: expected small, got {size!r}")
        random, horizon = np.random.default_rng(seed), LinearOptions.horizon
        with new_folder(folder, 10**5) as aside:
            weight = 0.01 * random.standard_normal((7 * horizon, 2 * FEATURES))
            write(aside, {"map.weight": weight.astype(np.float32), "map.bias": np.zeros(7 * horizon, np.float32)})

    def trainable(self, start):
        return LinearTrainable(start)


def write(folder, tensors) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, folder / WEIGHTS)
    config = {"model_type": "linear", "horizon": len(tensors["map.bias"]) // 7}
    (folder / CONFIG).write_text(json.dumps(config) + "\n")
