"""Start points on a grid, for trackers that follow any point."""

import numpy as np


def grid_points(grid_size: int, image_size: tuple[int, int]) -> np.ndarray:
    """(grid_size ** 2, 2) float32 pixels, the centres of equal cells."""
    width, height = image_size
    centres = (np.arange(grid_size) + 0.5) / grid_size
    x, y = np.meshgrid(centres * width - 0.5, centres * height - 0.5)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def free_grid_points(grid_size: int, image_size: tuple[int, int], points: np.ndarray, followed: int) -> np.ndarray:
    """The points of the grid that are farther than half a cell from all others.

    Motion carries points together and leaves gaps behind, so that more points may be followed than the grid has: twice
    as many at most.

    :param points: (N, 2) pixels of all points.
    :param followed: number of them that started on a grid.
    :returns: (M, 2) float32 pixels.
    """
    grid = grid_points(grid_size, image_size)
    gap = 0.5 * min(image_size) / grid_size
    nearest = np.linalg.norm(grid[:, None] - points[None], axis=2).min(axis=1, initial=np.inf)
    return grid[nearest >= gap][: max(0, 2 * len(grid) - followed)]
