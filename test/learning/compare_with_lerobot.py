"""Run by an interpreter that has lerobot: is what it loads what was written?

python compare_with_lerobot.py DATA_SET EXPECTED.npz

The second file holds the written columns (frames of all episodes, one after the other), `task` and `episode_index` of
each frame, `fps` and `lossless`. Imports nothing of stvla_ros.
"""

import sys

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

PICTURE, DEPTH = "observation.images.camera", "observation.images.depth"
# Mean error in grey levels of a picture that went through a video.
VIDEO_ERROR = 3.0


def main() -> int:
    root, file = sys.argv[1:]
    expected = dict(np.load(file))
    tasks, episode_index = expected.pop("task"), expected.pop("episode_index")
    fps, lossless = float(expected.pop("fps")), bool(expected.pop("lossless"))
    # torchcodec, the default, needs FFmpeg's libraries in the system; the decoder in the wheels is enough.
    dataset = LeRobotDataset("local/check", root=root, video_backend="pyav")
    assert (len(dataset), dataset.num_episodes) == (len(tasks), len(set(episode_index))), dataset
    assert dataset.fps == fps, dataset.fps
    given = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    assert set(dataset.features) == set(expected) | given, sorted(dataset.features)
    starts = np.searchsorted(episode_index, episode_index)
    for index in range(len(dataset)):
        item = dataset[index]
        for name, values in expected.items():
            compare(name, index, item[name], values[index], lossless)
        frame = index - starts[index]
        numbers = (item["index"], item["frame_index"], item["episode_index"])
        assert numbers == (index, frame, episode_index[index]), numbers
        assert item["task"] == tasks[index], item["task"]
        assert abs(item["timestamp"].item() - frame / fps) < 1e-4, item["timestamp"]
    check_one_episode(root, expected["action"], episode_index)
    check_chunks(root, fps, expected["action"], episode_index)
    check_statistics(dataset, expected)
    print(
        f"lerobot loads {len(dataset)} frames of {dataset.num_episodes} episodes: {', '.join(sorted(expected))}, task"
    )
    return 0


def compare(name: str, index: int, loaded: torch.Tensor, written: np.ndarray, lossless: bool) -> None:
    if name == PICTURE:
        rgb = np.round(loaded.numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        error = np.abs(rgb.astype(int) - written).mean()
        assert error == 0 if lossless else error < VIDEO_ERROR, (name, index, error)
    elif name == DEPTH:
        # torchvision gives the bits of uint16 as int16; lerobot after 0.4.4 gives float32.
        depth = loaded.numpy()[0]
        depth = depth.view(np.uint16) if depth.dtype == np.int16 else depth
        assert np.array_equal(depth, written), (name, index)
    else:
        values = loaded.numpy()
        assert np.array_equal(values, written.astype(values.dtype)), (name, index, values, written)


def check_one_episode(root: str, action: np.ndarray, episode_index: np.ndarray) -> None:
    """An episode can be loaded alone."""
    last = episode_index[-1]
    dataset = LeRobotDataset("local/check", root=root, episodes=[int(last)], video_backend="pyav")
    loaded = np.stack([dataset[index]["action"].numpy() for index in range(len(dataset))])
    assert np.array_equal(loaded, action[episode_index == last])


def check_chunks(root: str, fps: float, action: np.ndarray, episode_index: np.ndarray) -> None:
    """Chunks of actions, as policies are trained with, end with their episode."""
    ahead = 3
    deltas = {"action": [step / fps for step in range(ahead)]}
    dataset = LeRobotDataset("local/check", root=root, delta_timestamps=deltas, video_backend="pyav")
    for index in range(len(dataset)):
        item = dataset[index]
        end = int(np.flatnonzero(episode_index == episode_index[index])[-1])
        wanted = [min(index + step, end) for step in range(ahead)]
        assert np.array_equal(item["action"].numpy(), action[wanted]), index
        assert item["action_is_pad"].tolist() == [index + step > end for step in range(ahead)], index


def check_statistics(dataset: LeRobotDataset, expected: dict[str, np.ndarray]) -> None:
    stats = dataset.meta.stats
    assert set(stats) == set(dataset.features), sorted(stats)
    for name, values in expected.items():
        values = values.reshape(len(values), -1) if name not in (PICTURE, DEPTH) else values
        scale = 255.0 if name == PICTURE else 1.0
        axes = tuple(range(values.ndim - 1)) if name != DEPTH else None
        for kind in ("min", "max", "mean", "std"):
            wanted = getattr(values.astype(np.float64), kind)(axis=axes) / scale
            np.testing.assert_allclose(stats[name][kind].reshape(-1), np.reshape(wanted, -1), rtol=1e-6, atol=1e-9)


if __name__ == "__main__":
    sys.exit(main())
