"""The part of the network that sees, as a base for other networks: picture encoder and Ego3D, frozen."""

from pathlib import Path

import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.sizes import PROCESSOR_CONFIG

# Assumed depth of a patch without any known depth: about the distance of a table.
_USUAL_M = 1.0


class SeeingPart:
    """See ``PictureTokens``. Missing inputs get usual values: the intrinsics of the checkpoint's default camera; 1 m
    for a patch without any depth, and a patch's mean depth for its unknown pixels.

    :param folder: folder of a whole checkpoint.
    :param device: device that it computes on.
    :raises InputError: for a checkpoint that cannot be read, or one with heads that see more than a picture.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        model = load_model(folder, device, torch.float32, lean=True)
        if model.config.num_pictures != 1:
            raise InputError(f"checkpoint {folder}: expected one that sees one picture, it sees an earlier one as well")
        self._model = model
        vision = model.config.vision
        self.picture_size, self.patch, self.width = vision.image_size, vision.patch_size, vision.hidden_size
        camera = read_json(folder / PROCESSOR_CONFIG)["intrinsic_config"]["default"]
        usual = torch.tensor(camera["intrinsic"], dtype=torch.float32, device=device).reshape(3, 3)
        usual[0] *= self.picture_size / camera["width"]
        usual[1] *= self.picture_size / camera["height"]
        self._usual = usual

    @torch.no_grad()
    def __call__(self, rgb: torch.Tensor, depth: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
        """See ``PictureTokens``."""
        told = torch.where(intrinsics.isfinite(), intrinsics, self._usual.expand_as(intrinsics))
        placed = self._model.see(rgb.float(), self._model.points(self._filled(depth), told))
        return placed.float()

    def _filled(self, depth: torch.Tensor) -> torch.Tensor:
        """(N, S, S) metres, all positive."""
        count, side = len(depth), depth.shape[-1]
        cells = depth.reshape(count, side // self.patch, self.patch, side // self.patch, self.patch)
        known = (cells > 0).float()
        mean = cells.sum(dim=(2, 4), keepdim=True) / known.sum(dim=(2, 4), keepdim=True).clamp(min=1.0)
        mean = torch.where(mean > 0, mean, torch.full_like(mean, _USUAL_M))
        return torch.where(cells > 0, cells, mean.expand_as(cells)).reshape(depth.shape)
