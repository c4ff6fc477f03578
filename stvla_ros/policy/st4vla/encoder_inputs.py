"""Turns a picture into the inputs of the two encoders. Pure functions.

Both get the same (3, S, S) picture with numbers from 0 to 1 (``policy/pictures.py``).
"""

import torch

# Means and deviations of the pixels of Qwen2.5-VL's and DINOv2's pictures (from their processors; CLIP's and ImageNet's
# numbers).
_VLM_MEAN, _VLM_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_DINO_MEAN, _DINO_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCH, MERGED, TIMES = 14, 2, 2
"""Side of a patch in pixels, side of a token in patches, and number of pictures in a patch: the same one twice."""


def patches(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures as Qwen2.5-VL's inputs.

    :param pictures: (N, 3, S, S) from 0 to 1, S a multiple of 28.
    :returns: (N · (S / 14)², 1176) patches, those of a token one after another, each 3 x 2 x 14 x 14; and (N, 3) times,
        rows and columns of each picture's patches.
    """
    number, _, height, width = pictures.shape
    grid = torch.tensor([[1, height // PATCH, width // PATCH]] * number, device=pictures.device)
    return patch_rows(pictures), grid


def patch_rows(pictures: torch.Tensor) -> torch.Tensor:
    """The first of what ``patches`` returns."""
    number, _, height, width = pictures.shape
    rows, columns = height // (PATCH * MERGED), width // (PATCH * MERGED)
    scaled = _scaled(pictures, _VLM_MEAN, _VLM_DEVIATION)
    cut = scaled.view(number, 3, rows, MERGED, PATCH, columns, MERGED, PATCH)
    # picture, row and column of the token, row and column in it, colour, (time,) row and column in the patch
    ordered = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
    repeated = ordered.expand(-1, -1, -1, -1, -1, -1, TIMES, -1, -1)
    return repeated.reshape(-1, 3 * TIMES * PATCH * PATCH)


def dino_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """The pictures as DINOv2's inputs: (N, 3, S, S) from 0 to 1, normalised by ImageNet's mean and deviation."""
    return _scaled(pictures, _DINO_MEAN, _DINO_DEVIATION)


def _scaled(pictures: torch.Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    # Colour by colour: numbers of Python need not be brought to the device, for which it would be waited.
    colours = zip(pictures.unbind(1), mean, deviation, strict=True)
    return torch.stack([(colour - middle) / scale for colour, middle, scale in colours], dim=1)
