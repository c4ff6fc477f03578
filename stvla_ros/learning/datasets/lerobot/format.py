"""The layout of a LeRobotDataset v3.0 on disk: paths, features, table schemas.

Source: the dataset code of the package lerobot 0.4.4 (`lerobot/datasets/utils.py`, `lerobot_dataset.py`), and of its
main branch for the marks of a depth map (`is_depth_map`, `depth_unit`).
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.demonstration import Demonstration

VERSION = "v3.0"
INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EPISODES_FOLDER = "meta/episodes"
EPISODES_PATH = EPISODES_FOLDER + "/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

# Number of files in a chunk's folder, and lerobot's usual sizes at which a new file begins.
CHUNK_SIZE = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

# Columns of every data set, beside its features.
BOOKKEEPING = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}

# An encoded picture in a data file, in the form of the package `datasets`.
ENCODED_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_INTRINSICS_NAMES = [f"k{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]
_SCENE_POINTS_NAMES = [f"{point}.{axis}" for point in schema.SCENE_POINTS for axis in "xyz"]


def make_features(demonstration: Demonstration, video: bool) -> dict[str, dict[str, Any]]:
    """`features` of info.json for a data set of demonstrations like this one.

    :param video: whether the colour pictures are in mp4 files.
    """
    height, width = demonstration.rgb.shape[1:3]
    sides = ["height", "width", "channels"]
    features: dict[str, dict[str, Any]] = {
        schema.PICTURE: {"dtype": "video" if video else "image", "shape": [height, width, 3], "names": sides}
    }
    if demonstration.depth is not None:
        features[schema.DEPTH] = {
            "dtype": "image",
            "shape": [height, width, 1],
            "names": sides,
            "info": {"is_depth_map": True, "depth_unit": "mm"},
        }
    numbers = {
        schema.INTRINSICS: (demonstration.intrinsics, "float64", _INTRINSICS_NAMES),
        schema.STATE: (demonstration.state, "float32", list(schema.ACTION_NAMES)),
        schema.ACTION: (demonstration.action, "float32", list(schema.ACTION_NAMES)),
        schema.EXECUTED_ACTION: (demonstration.executed_action, "float32", list(schema.ACTION_NAMES)),
        schema.SCENE_POINTS_FEATURE: (demonstration.scene_points, "float32", _SCENE_POINTS_NAMES),
    }
    for name, (value, dtype, names) in numbers.items():
        if value is not None:
            features[name] = {"dtype": dtype, "shape": [len(names)], "names": names}
    features[schema.STAMP] = {"dtype": "int64", "shape": [1], "names": None}
    for name, dtype in BOOKKEEPING.items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


def data_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Columns of a data file. The metadata tell the package `datasets` which of them are pictures."""
    fields: list[tuple[str, pa.DataType]] = []
    described: dict[str, Any] = {}
    for name, feature in features.items():
        if feature["dtype"] == "video":
            continue
        if feature["dtype"] == "image":
            fields.append((name, ENCODED_PICTURE))
            described[name] = {"_type": "Image"}
            continue
        element = pa.type_for_alias(feature["dtype"])
        value: dict[str, Any] = {"dtype": feature["dtype"], "_type": "Value"}
        length = feature["shape"][0]
        fields.append((name, element if length == 1 else pa.list_(element, length)))
        described[name] = value if length == 1 else {"feature": value, "length": length, "_type": "Sequence"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": described}})})


def tasks_table(instructions: list[str]) -> pa.Table:
    """The instructions, numbered. lerobot reads the table with pandas, which uses the column `task` as the index."""
    columns = [("task_index", "int64"), ("task", "object")]
    described = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": "unicode" if kind == "object" else kind,
            "numpy_type": kind,
            "metadata": None,
        }
        for name, kind in columns
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    fields = [("task_index", pa.int64()), ("task", pa.string())]
    return pa.table(
        {"task_index": range(len(instructions)), "task": instructions},
        schema=pa.schema(fields, metadata={"pandas": json.dumps(pandas)}),
    )
