"""What the tests' camera shows."""

import numpy as np

INTRINSICS = np.array([[150.0, 0, 79.5], [0, 150.0, 59.5], [0, 0, 1]])
PERIOD_NS = 33_333_333


def scene(count: int, size: tuple[int, int] = (160, 120)) -> tuple[list[np.ndarray], np.ndarray]:
    """A textured patch moves over textured ground: (H, W, 3) uint8 pictures, and their depth, (H, W) uint16 mm."""
    width, height = size
    generator = np.random.default_rng(5)
    ground = generator.integers(40, 200, (height // 4, width // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    patch = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    pictures = []
    for index in range(count):
        picture = ground.copy()
        x, y = width // 8 + 2 * index, height // 4 + index
        picture[y : y + len(patch), x : x + patch.shape[1]] = patch
        pictures.append(picture)
    depth = np.linspace(700, 1100, height)[:, None].repeat(width, 1).astype(np.uint16)
    depth[: height // 10] = 0  # unknown
    return pictures, depth
