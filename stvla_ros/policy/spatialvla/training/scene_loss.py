"""An auxiliary question during training: where are the object, the goal and the gripper?

Simulated demonstrations know the answer (privileged.scene_points). Two places of the network are asked. First, the
picture's tokens after the language model: each says whether a point lies in it, and at what offset. Second, the token
that scores the first action: it must know where things are relative to each other before it can say where to go. Both
see the instruction, so which of two objects is "the object" is learnt here, too. The heads are thrown away after
training.
"""

import torch
import torch.nn.functional as F
from torch import nn

from stvla_ros.policy.samples import SCENE_POINTS
from stvla_ros.policy.spatialvla.training.forward import Hidden

# Distance from a point, in patches, up to which a patch still counts; 1 cm is what a grasp tolerates.
_POINTING_SPREAD = 0.6
_METRES = 0.03
_POINTS = len(SCENE_POINTS)


class SceneHeads(nn.Module):
    """:param hidden_size: the language model's width. :param size: side of the picture, pixels."""

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.pointing = nn.Linear(hidden_size, _POINTS * 4)
        self.relations = nn.Linear(hidden_size, _POINTS * 3)
        self._size = size

    def forward(
        self, hidden: Hidden, points: torch.Tensor, intrinsics: torch.Tensor, scene_points: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Losses by name.

        :param points: (B, P, 3 n^2) points of the patches, metres.
        :param intrinsics: (B, 3, 3) in pixels of the picture.
        :param scene_points: (B, 3, 3) metres in the camera's frame; NaN: the sample does not count.
        """
        known = scene_points.isfinite().all(dim=(1, 2))
        truth = torch.where(known[:, None, None], scene_points, torch.ones_like(scene_points))
        batch, patches = points.shape[:2]
        answer = self.pointing(hidden.picture.float()).view(batch, patches, _POINTS, 4)
        scores, offsets = answer[..., 0], answer[..., 1:] * _METRES
        wanted = self._patch_shares(truth, intrinsics, patches)
        pointing = -(wanted * torch.log_softmax(scores, dim=1)).sum(dim=1)
        centres = points.view(batch, patches, -1, 3).mean(dim=2)
        # Offsets are learnt where the point is. The answer is pointing and offsets combined.
        said = (wanted[..., None] * (centres[:, :, None] + offsets)).sum(dim=1)
        placed = F.smooth_l1_loss(said / _METRES, truth / _METRES, reduction="none").mean(dim=-1)
        object_, goal, gripper = truth.unbind(dim=1)
        relations = torch.cat([object_ - gripper, goal - object_, gripper], dim=-1) / _METRES
        answered = self.relations(hidden.answers[:, 0].float())
        related = F.smooth_l1_loss(answered, relations, reduction="none").view(batch, _POINTS, 3).mean(dim=-1)
        parts = {"pointing": pointing, "placing": placed, "relations": related}
        return {name: (value.mean(dim=1) * known).sum() / known.sum().clamp(min=1) for name, value in parts.items()}

    def _patch_shares(self, truth: torch.Tensor, intrinsics: torch.Tensor, patches: int) -> torch.Tensor:
        """(B, P, 3), each of sum 1 over the patches: the share of each patch in holding the point."""
        side = round(patches**0.5)
        image = torch.einsum("bij,bpj->bpi", intrinsics, truth)
        where = image[..., :2] / image[..., 2:].clamp(min=1e-3) * (side / self._size) - 0.5
        # A point outside the picture belongs to the patch at the border.
        where = where.clamp(0.0, side - 1.0)
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        grid = torch.stack([x, y], dim=-1).view(1, patches, 1, 2).to(where)
        squared = (grid - where[:, None]).square().sum(dim=-1)
        return torch.softmax(-squared / (2.0 * _POINTING_SPREAD**2), dim=1)
