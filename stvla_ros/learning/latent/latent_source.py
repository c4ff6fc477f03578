"""What the `stvla latent` commands have in common: a latent action model, and the frames of what it looks at."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from stvla_ros.atomic_files import make_folder
from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.datasets.open_data import DataReader, is_dataset, open_data
from stvla_ros.learning.datasets.recorded_clips import RecordingsConfig
from stvla_ros.settings import Range, parse_mapping

AUTO = "auto"


@dataclass(frozen=True)
class LatentArguments:
    """What all of them are told."""

    source: Positional[str]
    """Video file, folder of pictures, rosbag2 (folder, .mcap, .db3) or LeRobotDataset."""
    checkpoint: str
    """Latent action model: a folder or a hub id (`stvla train --config config/train/lam.yaml`)."""
    output: str = ""
    """Folder to make; it must not exist, or be empty. Empty: out/latent/TIME."""
    depth: str = AUTO
    """Source of the metres: sensor, depth_anything, zoedepth, one that a package adds; auto: as in the training."""
    depth_parameters: str = "{}"
    """Parameters of the depth backend, as a YAML mapping."""
    frame_rate: Annotated[float, Range(0.0, 10_000.0)] = 0.0
    """Pictures a second, of a folder whose pictures carry no stamps."""
    most_rate: Annotated[float, Range(0.0, 10_000.0)] = 10.0
    """Frames a second of a recording that are used, at most; 0 for all."""
    image_topic: str = ""
    """Topic in the bag; empty: the only colour picture that nobody drew in."""
    depth_topic: str = ""
    """Topic in the bag; empty: the registered depth beside the picture."""
    cache: str = "out/cache"
    """Folder that keeps the prepared frames."""
    device: str = AUTO
    """Device: auto, cpu, cuda or cuda:N."""


def output_of(arguments: LatentArguments) -> Path:
    """Where the results will be."""
    return Path(arguments.output or f"out/latent/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}").expanduser().resolve()


@contextmanager
def opened_source(
    arguments: LatentArguments, output: Path, tells_actions: bool = False
) -> Iterator[tuple[Any, Any, Path]]:
    """The model, the source's prepared frames, and a folder aside that becomes ``output`` when all is well. So nobody
    is told its name.

    :param output: see :func:`output_of`.
    :param tells_actions: whether actions are read, too, see :func:`source_samples`.
    :raises InputError: for a checkpoint or a source that cannot be used; then nothing was made.
    """
    from stvla_ros.atomic_files import whole_folder
    from stvla_ros.policy.checkpoint_places import find_checkpoint
    from stvla_ros.policy.checkpoints import check_free
    from stvla_ros.policy.families import family_of

    check_free(output)
    found = find_checkpoint(arguments.checkpoint)
    model = family_of(found).latent_actions(found, arguments.device)
    samples = source_samples(arguments, model, tells_actions)
    make_folder(output.parent)
    with whole_folder(output) as aside:
        yield model, samples, aside


def source_samples(arguments: LatentArguments, model: Any, tells_actions: bool = False) -> Any:
    """The prepared frames of the source.

    :param tells_actions: whether actions are read, too, of a data set that tells what they mean; else they are NaN.
    :raises InputError: for a source that cannot be used.
    """
    from stvla_ros.learning.training.prepared_frames import prepare_samples
    from stvla_ros.policy.training_record import resolve

    given: dict[str, Any] = {"traces": "none"}
    if arguments.depth != AUTO:
        given |= {"depth": arguments.depth}
        given |= {"depth_parameters": parse_mapping("depth_parameters", arguments.depth_parameters)}
    inputs = resolve(arguments.checkpoint, given).inputs
    inputs.check_backends()
    settings = RecordingsConfig(arguments.image_topic, arguments.depth_topic, arguments.frame_rate, arguments.most_rate)
    reader = _reader(Path(arguments.source), tells_actions, settings)
    if inputs.depth == "sensor" and model.config.depth == "both" and schema.DEPTH not in reader.info.features:
        print(
            f"note: {arguments.source} has no depth, it counts as unknown; --depth depth_anything or zoedepth tell it",
            file=sys.stderr,
        )
    numbers = range(len(reader))
    return prepare_samples([reader], [numbers], inputs, model.preparation(inputs.resize), Path(arguments.cache), 1)


def _reader(source: Path, tells_actions: bool, settings: RecordingsConfig) -> DataReader:
    if tells_actions and is_dataset(source):
        try:
            return open_data(source, "", "", True, settings)
        except InputError:  # its actions mean something else; what is damaged says so again
            pass
    return open_data(source, "", "", False, settings)
