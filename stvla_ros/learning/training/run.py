"""`stvla train`: from a configuration file to a trained checkpoint."""

import json
import math
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from stvla_ros.atomic_files import make_folder
from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import TrainingConfig, read_config, record, to_mapping
from stvla_ros.learning.training.given import check_given
from stvla_ros.policy.families import GROUNDING, find_family
from stvla_ros.settings import load_yaml

if TYPE_CHECKING:
    import torch

    from stvla_ros.learning.datasets.open_data import DataReader
    from stvla_ros.learning.training.asked_questions import AskedQuestions
    from stvla_ros.learning.training.loop import Trainer
    from stvla_ros.learning.training.selection import Selection
    from stvla_ros.policy.trainable import Start, Trainable

# Settings that may change when a run continues.
_FREE_SETTINGS = ("output", "save_every", "log_every", "validate_every", "device")
_SPLIT = 3


@dataclass(frozen=True)
class TrainArguments:
    """Train a policy: all weights of a small one, or LoRA adapters on any checkpoint. The same command continues a run
    that was killed.
    """

    config: str
    """Configuration, e.g. config/train/st_vla_lora.yaml."""
    preset: str = ""
    """Name of one of the file's presets, e.g. 24GB of config/train/st_vla_lora.yaml; empty for none."""
    set: tuple[str, ...] = ()
    """Values in place of the file's and the preset's: data.episodes=52 optimizer.learning_rate=1e-4 …"""
    output: str = ""
    """Folder of the run, in place of the file's."""


def main(arguments: TrainArguments) -> int:
    """:raises InputError: for a bad argument, configuration or data set; then nothing was trained."""
    overrides = dict(_override(text) for text in arguments.set)
    if arguments.output:
        overrides["output"] = arguments.output
    train(read_config(Path(arguments.config), overrides, arguments.preset))
    return 0


def _override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    try:
        if equals and name:
            return name, load_yaml(value)
    except ValueError:
        pass
    raise InputError(f"set: expected key=value like data.episodes=52, got {text!r}")


@dataclass(frozen=True, eq=False)
class Ready:
    """A run that is ready for its next step.

    :param folder: folder of the run.
    :param settings: settings that must be the same when the run continues.
    :param state: state that the run was restored from; None at its beginning.
    :param warnings: lines about suspicious things in the data.
    """

    folder: Path
    settings: dict[str, Any]
    state: dict[str, Any] | None
    readers: "list[DataReader]"
    selections: "list[Selection]"
    trainable: "Trainable"
    trainer: "Trainer"
    asked: "AskedQuestions | None"
    warnings: list[str]


def make_ready(config: TrainingConfig) -> Ready:
    """Check the data, run perception once over all episodes, and make the network, or restore it.

    :raises InputError: for a configuration or data that cannot be used.
    """
    check_given(config)
    # OpenMP reads this when torch is loaded. Threads that spin while they wait for each other slow down all other
    # processes, and are slowed down by them: beside 18 busy processes, a step on two cores took 39 s instead of 3.2.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Imported here: --help need not wait for torch.
    import cv2

    from stvla_ros.devices import parse_device, set_threads
    from stvla_ros.freed_memory import keep_freed_memory
    from stvla_ros.learning.datasets.open_data import open_data
    from stvla_ros.learning.training.asked_questions import ask_questions
    from stvla_ros.learning.training.checks import check_count, check_datasets
    from stvla_ros.learning.training.clip_checks import check_clips
    from stvla_ros.learning.training.loop import Trainer
    from stvla_ros.learning.training.prepared_frames import prepare_samples
    from stvla_ros.learning.training.selection import select_clips, select_episodes
    from stvla_ros.learning.training.stages import frames_of_stages, make_stages
    from stvla_ros.learning.training.state import load_state
    from stvla_ros.policy.lora import trainable_parameters

    run_folder = Path(config.output).resolve()
    make_folder(run_folder)
    settings = {name: value for name, value in to_mapping(config).items() if name not in _FREE_SETTINGS}
    state = load_state(run_folder, settings)

    data = config.data
    if strangers := data.action.keys() - set(data.paths):
        raise InputError(f"data.action: expected some of data.paths, got {', '.join(sorted(strangers))}")
    readers = [
        open_data(Path(path), data.picture, data.action.get(path, ""), config.needs_actions, data.recordings)
        for path in data.paths
    ]
    selections = [select_episodes(reader, data.episodes) for reader in readers]
    if config.needs_actions:
        warnings = [*check_datasets(selections, config), *check_count(selections, data.validation_share)]
    else:
        warnings = check_clips(selections, config)
    demonstrations = list(selections)
    if data.clips:
        readers += [open_data(Path(path), data.picture, "", False, data.recordings) for path in data.clips]
        clips = [select_clips(reader) for reader in readers[len(data.paths) :]]
        warnings += check_clips(clips, config)
        selections += clips
    chosen = [selection.numbers for selection in selections]

    device = parse_device(config.device, "device")
    if device.type == "cpu":
        # One core is left for making batches, and for other processes.
        set_threads(max(1, len(os.sched_getaffinity(0)) - 1))
        cv2.setNumThreads(1)  # it prepares the next batch beside the network
        keep_freed_memory(whatever_its_size=True)
    family = find_family(config.family.name)
    trainable = family.trainable(_start(config, demonstrations, device, run_folder))
    samples = prepare_samples(readers, chosen, config.inputs, trainable.preparation, Path(data.cache))
    taught = sum(len(selection.numbers) for selection in demonstrations)
    samples.actions[samples.episode >= taught] = np.nan  # what a data set among the clips says does not count
    trainable.use(samples)
    train_frames, validation_frames = _split(samples.episode, taught, config)
    samples_a_step = config.batch_size * config.gradient_accumulation
    steps = config.steps or math.ceil(config.epochs * len(train_frames) / samples_a_step)

    parts = config.all_stages(steps)
    data_set = np.repeat(np.arange(len(chosen)), [len(numbers) for numbers in chosen])[samples.episode]
    frames = frames_of_stages(parts, data.all_paths, data_set, train_frames)
    stages = make_stages(parts, trainable_parameters(trainable.module))
    asked = None
    if GROUNDING in config.all_objectives():
        asked = ask_questions(config.grounding, config.data.validation_share, config.seed)
    trainer = Trainer(config, trainable, stages, frames, validation_frames, device, asked)
    if state is not None:
        trainer.restore(state)
    return Ready(run_folder, settings, state, readers, selections, trainable, trainer, asked, warnings)


def train(config: TrainingConfig) -> Path:
    """Train, or continue the run in ``config.output``.

    :returns: the folder of the checkpoint, or of the adapter.
    :raises InputError: for a configuration or data that cannot be used.
    """
    ready = make_ready(config)
    from stvla_ros.learning.training.briefing import briefing
    from stvla_ros.learning.training.ending import ending
    from stvla_ros.learning.training.grip_pictures import write_grip_pictures
    from stvla_ros.learning.training.loop import run_loop

    run_folder, trainer, trainable = ready.folder, ready.trainer, ready.trainable
    demonstrations = ready.selections[: len(config.data.paths)]
    page = briefing(config, ready.selections, trainable, trainer.steps, trainer.seconds_a_step(), ready.asked)
    warnings = [*ready.warnings, *trainable.remarks]
    print("\n".join([page, *(f"warning: {line}" for line in warnings)]), flush=True)
    (run_folder / "briefing.txt").write_text(page + "\n")
    if config.needs_actions:
        pictures = write_grip_pictures(run_folder, demonstrations)
        print(f"look at {pictures}: it shows where the gripper closes", flush=True)
    (run_folder / "config.yaml").write_text(yaml.safe_dump(to_mapping(config), sort_keys=False))

    begun = time.monotonic()
    run_loop(trainer, config, run_folder, ready.settings, ready.state)
    minutes = (time.monotonic() - begun) / 60.0
    result = _save_result(config, trainable, trainer, run_folder)
    print(f"{trainer.steps} steps ({minutes:.1f} minutes in this go); {result}")
    robots = {selection.reader.info.robot_type for selection in demonstrations}
    print(*ending(run_folder, result, robots, config.needs_actions), sep="\n", flush=True)
    return result


def _start(config: TrainingConfig, selections: "list[Selection]", device: "torch.device", run_folder: Path) -> "Start":
    from stvla_ros.policy.checkpoint_places import find_base
    from stvla_ros.policy.families import family_of
    from stvla_ros.policy.trainable import Start

    family = find_family(config.family.name)
    if config.checkpoint:
        base = find_base(config.checkpoint)
        if (found := family_of(base).name) != family.name:
            raise InputError(f"family.name: expected {found}, the family of checkpoint {base}, got {family.name}")
    else:
        # A continued run finds it there; one with other weights, after this one was refused, does not.
        base = run_folder / f"base-{family.name}-{config.size}-{config.seed}"
        if not base.is_dir():
            family.create(base, config.size, config.seed)
    return Start(
        base=base,
        # A hub id is kept as it is: a path into this machine's cache would mean nothing elsewhere.
        base_name=config.checkpoint or str(base),
        is_new=not config.checkpoint,
        options=config.family_options(),
        objectives=frozenset(config.all_objectives()),
        inputs=config.inputs,
        lora=config.lora,
        actions=np.concatenate([selection.all_actions for selection in selections]),
        episodes=sum(len(selection.numbers) for selection in selections),
        unnorm_key=config.data.unnorm_key,
        seed=config.seed,
        device=device,
        precision=_precision(config, device),
        gradient_checkpointing=config.gradient_checkpointing,
    )


def _save_result(config: TrainingConfig, trainable: "Trainable", trainer: "Trainer", run_folder: Path) -> Path:
    """Write the checkpoint (or adapter) with everything that belongs to it. :returns: its folder."""
    from stvla_ros.policy.checkpoints import TRAINING_RECORD, new_folder
    from stvla_ros.policy.commands import merge_adapter

    result = run_folder / ("checkpoint" if config.lora is None else "adapter")
    if result.is_dir():
        shutil.rmtree(result)  # of this same run, ended before
    with trainer.final_weights(), new_folder(result, trainable.result_bytes()) as aside:
        trainable.save(aside)
        (aside / TRAINING_RECORD).write_text(json.dumps(record(config), indent=2) + "\n")
    if config.lora is not None and config.lora.merge:
        merged = run_folder / "checkpoint"
        shutil.rmtree(merged, ignore_errors=True)
        merge_adapter(str(result), merged, "float32")
    return result


def _split(episode: np.ndarray, episodes: int, config: TrainingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the frames to train on, and of the held-out episodes'.

    :param episodes: number of episodes of which some are held out, the first ones.
    """
    from stvla_ros.learning.training.selection import held_episodes

    held = held_episodes(episodes, config.data.validation_share)
    random = np.random.default_rng([_SPLIT, config.seed])
    is_held = np.isin(episode, random.permutation(episodes)[:held])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _precision(config: TrainingConfig, device: Any) -> Any:
    """The type of the forward pass; trained weights are float32."""
    import torch

    from stvla_ros.devices import computes_bfloat16

    if config.precision == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    return getattr(torch, config.precision)
