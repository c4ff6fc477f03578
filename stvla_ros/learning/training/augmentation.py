"""Other pictures of the same scene. Random numbers come from the caller's generator, on the CPU."""

import torch
import torch.nn.functional as F

from stvla_ros.learning.training.config import AugmentationConfig

_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


def augment(
    pixels: torch.Tensor,
    depth: torch.Tensor,
    intrinsics: torch.Tensor,
    config: AugmentationConfig,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    :param pixels: (B, 3, S, S) float32 in [0, 1].
    :param depth: (B, S, S) float32 metres.
    :param intrinsics: (B, 3, 3) in pixels of S x S.
    :returns: the same, changed. A zoom changes the focal lengths along, a shift the principal point, so that every
        point of the scene stays where it is in the camera's frame.
    """
    batch = len(pixels)
    if config.zoom:
        scale = 1.0 + config.zoom * (2.0 * torch.rand(batch, generator=generator) - 1.0)
        pixels, depth, intrinsics = _zoomed(pixels, depth, intrinsics, scale)
    if config.shift:
        moves = torch.randint(-config.shift, config.shift + 1, (batch, 2), generator=generator)
        together = F.pad(torch.cat([pixels, depth[:, None]], dim=1), [config.shift] * 4, mode="replicate")
        size = pixels.shape[-1]
        shifted = torch.stack(
            [
                image[:, config.shift - y : config.shift - y + size, config.shift - x : config.shift - x + size]
                for image, (x, y) in zip(together, moves.tolist(), strict=True)
            ]
        )
        pixels, depth = shifted[:, :3], shifted[:, 3]
        intrinsics = intrinsics.clone()
        intrinsics[:, :2, 2] += moves
    if config.colour:
        factors = 1.0 + config.colour * (2.0 * torch.rand(batch, 3, 1, 1, 1, generator=generator) - 1.0)
        brightness, contrast, saturation = factors.unbind(dim=1)
        grey = (pixels * torch.tensor(_GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        pixels = grey + saturation * (pixels - grey)
        mean = grey.mean(dim=(2, 3), keepdim=True)
        pixels = ((mean + contrast * (pixels - mean)) * brightness).clamp(0.0, 1.0)
    if config.depth_noise:
        scale = 1.0 + config.depth_noise * (2.0 * torch.rand(batch, 1, 1, generator=generator) - 1.0)
        depth = depth * scale
    return pixels, depth, intrinsics


def _zoomed(
    pixels: torch.Tensor, depth: torch.Tensor, intrinsics: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """About the picture's centre. Depth takes the nearest pixel: between two surfaces there is nothing."""
    size = pixels.shape[-1]
    back = torch.diag_embed((1.0 / scale)[:, None].repeat(1, 2))
    grid = F.affine_grid(F.pad(back, (0, 1)), [len(scale), 1, size, size], align_corners=False)
    intrinsics = intrinsics.clone()
    intrinsics[:, :2, :2] *= scale[:, None, None]
    intrinsics[:, :2, 2] = scale[:, None] * (intrinsics[:, :2, 2] - size / 2) + size / 2
    return (
        F.grid_sample(pixels, grid, padding_mode="border", align_corners=False),
        F.grid_sample(depth[:, None], grid, "nearest", padding_mode="border", align_corners=False)[:, 0],
        intrinsics,
    )
