"""Run by an interpreter that has lerobot: a data set of Bridge's shape, written by lerobot itself.

python write_with_lerobot.py DATA_SET CONTENT.npz

The second file holds `rgb` (N, H, W, 3) uint8, `action` (N, 7), `state` (N, 8), `task` (N,) and `episode_index` (N,).
"""

import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

PICTURE = "observation.images.image_0"


def main() -> int:
    root, file = sys.argv[1:]
    content = np.load(file)
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    shape = content["rgb"].shape[1:]
    features = {
        PICTURE: {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (8,), "names": [*names[:6], "pad", "gripper"]},
        "action": {"dtype": "float32", "shape": (7,), "names": names},
    }
    dataset = LeRobotDataset.create("local/check", fps=5, features=features, root=root, robot_type="widowx")
    for index, episode in enumerate(content["episode_index"]):
        if index and episode != content["episode_index"][index - 1]:
            dataset.save_episode()
        frame = {PICTURE: content["rgb"][index], "observation.state": content["state"][index]}
        dataset.add_frame({**frame, "action": content["action"][index], "task": str(content["task"][index])})
    dataset.save_episode()
    dataset.finalize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
