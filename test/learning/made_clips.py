"""Pictures of a square that walks, in the files that people have."""

from pathlib import Path

import cv2
import made_bags
import numpy as np

SECOND = 1_000_000_000


def pictures(frames: int, seed: int = 0, side: int = 48) -> np.ndarray:
    """(frames, side, side, 3): a red square walks over a ground."""
    random = np.random.default_rng(seed)
    made = np.full((frames, side, side, 3), (40, 70, 50), np.uint8)
    place, way = random.integers(0, side - 12, 2), random.choice([-6, -3, 3, 6], 2)
    for frame in made:
        frame[place[1] : place[1] + 12, place[0] : place[0] + 12] = (230, 60, 40)
        if random.random() < 0.2:
            way = random.choice([-6, -3, 3, 6], 2)
        way = np.where((place + way < 0) | (place + way > side - 12), -way, way)
        place = place + way
    return made


def image_folder(folder: Path, frames: int = 20, rate: float = 5.0, seed: int = 0) -> Path:
    """PNG files named after their stamps."""
    folder.mkdir(parents=True)
    for number, rgb in enumerate(pictures(frames, seed)):
        stamp = 1_700_000_000 * SECOND + round(number * SECOND / rate)
        cv2.imwrite(str(folder / f"{stamp}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return folder


def bag(folder: Path, episodes: int = 2, frames: int = 20, gap: int = 30 * SECOND) -> Path:
    """Of simulated episodes, as the live graph records them, with one picture between two."""
    with made_bags.GraphBag(folder) as growing:
        for index in range(episodes):
            first = made_bags.START + index * gap
            stamps = [first + number * SECOND // 5 for number in range(frames)]
            made_bags.record_episode(growing, stamps, index)
            growing.observation(stamps[-1] + SECOND // 5)
    return folder
