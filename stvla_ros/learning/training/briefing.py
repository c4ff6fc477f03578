"""One page before training: what will be trained, on which data, and its time and size."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.training.asked_questions import AskedQuestions
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.grip_pictures import FILE as GRIPS
from stvla_ros.learning.training.memory_estimate import estimate_memory
from stvla_ros.learning.training.selection import Selection, held_episodes
from stvla_ros.policy.lora import count_by_part, trainable_parameters
from stvla_ros.policy.trainable import Trainable

WIDTH, LINES = 100, 60
_MOST_DATASETS, _MOST_INSTRUCTIONS = 6, 12
_LABEL = 12
_QUANTILES = (0.01, 0.5, 0.99)


def briefing(
    config: TrainingConfig,
    selections: Sequence[Selection],
    trainable: Trainable,
    steps: int,
    seconds_per_step: float | None,
    asked: AskedQuestions | None = None,
) -> str:
    """
    :param selections: episodes to train on, for each of ``config.data.all_paths``.
    :param trainable: network as it will be trained: ``requires_grad`` set, adapters added.
    :param steps: number of optimiser steps in the whole run.
    :param seconds_per_step: measured time of a step, the mean of all stages' steps; None if it was not measured.
    :param asked: questions that some stage learns from.
    :returns: at most ``LINES`` lines of ``WIDTH`` columns.
    :raises InputError: for unreadable data.
    """
    blocks = [
        _task(config),
        _data(selections, config),
        _questions(config, asked),
        _actions(selections),
        _trained(config, trainable),
        _optimisation(config, trainable, steps, selections),
        _costs(config, trainable, steps, seconds_per_step, sum(each.frames for each in selections)),
        _files(config),
    ]
    return "\n".join(line[:WIDTH].rstrip() for block in blocks for line in block)


# --- blocks -----------------------------------------------------------------------------------------------------------


def _task(config: TrainingConfig) -> list[str]:
    what = "LoRA adapters on" if config.lora else "all weights of"
    base = config.checkpoint or f"a new {config.size} model of {config.family.name}"
    return [*_field("train", f"{what} {base}"), *_field("sees", config.inputs.summary)]


def _data(selections: Sequence[Selection], config: TrainingConfig) -> list[str]:
    lines = [f"{'data':<{_LABEL}}{'episodes':>9}{'of':>7}{'frames':>9}{'fps':>6}{'hours':>7}"]
    for selection in selections[:_MOST_DATASETS]:
        info, frames = selection.reader.info, selection.frames
        has = [
            name
            for feature, name in (
                (schema.DEPTH, "depth"),
                (schema.INTRINSICS, "camera"),
                (schema.SCENE_POINTS_FEATURE, "scene points"),
            )
            if feature in info.features
        ]
        counts = f"{len(selection.numbers):>9}{len(selection.reader):>7}{frames:>9}{info.fps:>6g}"
        hours = f"{frames / info.fps / 3600:>7.2f}"
        lines.append(f"{'':<{_LABEL}}{counts}{hours}  {_short(info.path, WIDTH - _LABEL - 40)}")
        lines.append(f"{'':<{_LABEL + 40}}{info.robot_type or 'unknown robot'}, with {', '.join(has) or 'no depth'}")
    if len(selections) > _MOST_DATASETS:
        lines.append(f"{'':<{_LABEL}}and {len(selections) - _MOST_DATASETS} more data sets")
    episodes = Counter(text for selection in selections for text in selection.instructions)
    frames_of: Counter[str] = Counter()
    for selection in selections:
        for text, actions in zip(selection.instructions, selection.actions, strict=True):
            frames_of[text] += len(actions)
    for text, count in episodes.most_common(_MOST_INSTRUCTIONS):
        lines.append(f"{'':<{_LABEL}}{count:>9}{'':>7}{frames_of[text]:>9}{'':>13}  {text or '(no instruction)'}")
    if len(episodes) > _MOST_INSTRUCTIONS:
        lines.append(f"{'':<{_LABEL}}and {len(episodes) - _MOST_INSTRUCTIONS} more instructions")
    total = sum(episodes.values())
    held = held_episodes(_holdable(selections, config), config.data.validation_share)
    frames = sum(frames_of.values())
    lines.append(
        f"{'':<{_LABEL}}{total:>9}{'':>7}{frames:>9}{'':>13}  all, {held} episodes of them held out for validation"
    )
    return lines


def _holdable(selections: Sequence[Selection], config: TrainingConfig) -> int:
    """Number of episodes of which some are held out: clips beside demonstrations are not."""
    return sum(len(each.numbers) for each in _demonstrated(selections, config))


def _demonstrated(selections: Sequence[Selection], config: TrainingConfig) -> Sequence[Selection]:
    """The selections without those of ``data.clips``, which come last."""
    return selections[: len(selections) - len(config.data.clips)]


def _questions(config: TrainingConfig, asked: AskedQuestions | None) -> list[str]:
    if asked is None:
        return []
    held = f", {len(asked.validation)} questions of them held out" if len(asked.validation) else ""
    batch = config.grounding.count(config.batch_size, alone=False)
    return _field(
        "questions",
        f"{len(asked.questions)} about {asked.pictures} pictures{held}; {batch} beside {config.batch_size} samples"
        + ("; answers are those of other pictures" if config.grounding.shuffled else ""),
    )


def _actions(selections: Sequence[Selection]) -> list[str]:
    actions = np.concatenate([selection.all_actions for selection in selections])
    actions = actions[np.isfinite(actions).all(axis=1)]
    if not len(actions):
        return []
    rows = np.quantile(actions, _QUANTILES, axis=0)
    head = "".join(f"{name:>9}" for name in schema.ACTION_NAMES[:6])
    lines = [f"{'actions':<{_LABEL}}{'':>7}{head}   mm and degrees a step"]
    for quantile, row in zip(_QUANTILES, rows, strict=True):
        numbers = np.round([*(1000.0 * row[:3]), *np.rad2deg(row[3:6])], 2) + 0.0  # no minus before a zero
        lines.append(f"{'':<{_LABEL}}{quantile:>6.0%} " + "".join(f"{number:>9.2f}" for number in numbers))
    lines.append(f"{'':<{_LABEL}}gripper open in {np.mean(actions[:, 6] >= 0.5):.0%} of the frames")
    return lines


def _trained(config: TrainingConfig, trainable: Trainable) -> list[str]:
    lines = [f"{'weights':<{_LABEL}}{'trained':>10}{'of':>10}"]
    counts = count_by_part(trainable.network)
    for part, (trained, whole) in counts.items():
        lines.append(f"{'':<{_LABEL}}{_count(trained):>10}{_count(whole):>10}  {part}")
    trained, whole = (sum(each) for each in zip(*counts.values(), strict=True))
    lines.append(f"{'':<{_LABEL}}{_count(trained):>10}{_count(whole):>10}  all, {trained / whole:.1%} trained")
    if config.lora:
        layers = sum(".lora_A." in name for name in trainable_parameters(trainable.network))
        lines.append(
            f"{'':<{_LABEL}}adapters of rank {config.lora.rank}, alpha {config.lora.alpha:g}, dropout "
            f"{config.lora.dropout:g} on {layers} linear layers"
        )
    return lines


def _optimisation(
    config: TrainingConfig, trainable: Trainable, steps: int, selections: Sequence[Selection]
) -> list[str]:
    optimizer = config.optimizer
    holdable = _holdable(selections, config)
    # The held-out episodes are drawn later, so the count is the expected one.
    held = held_episodes(holdable, config.data.validation_share)
    of_holdable = sum(each.frames for each in _demonstrated(selections, config))
    frames = sum(each.frames for each in selections) - of_holdable * held / holdable
    epochs = steps * config.batch_size * config.gradient_accumulation / frames
    parts = [f"{optimizer.name}, learning rate {optimizer.learning_rate:g} {optimizer.schedule}"]
    parts += [f"of {part} {rate:g}" for part, rate in optimizer.learning_rates.items()]
    parts += [f"{optimizer.warmup_steps} warm-up steps"] if optimizer.warmup_steps else []
    parts += [f"weight decay {optimizer.weight_decay:g}"] if optimizer.weight_decay else []
    parts += [f"average {optimizer.ema:g}"] if optimizer.ema else []
    types = " and ".join(sorted({str(p.dtype).removeprefix("torch.") for p in trainable.network.parameters()}))
    precision = f"{config.precision}, weights {types}, on {_device(trainable)}"
    return [
        *_field(
            "steps",
            f"{steps} of {config.batch_size} x {config.gradient_accumulation} samples, about {epochs:.3g} epochs",
        ),
        *_field("optimiser", ", ".join(parts)),
        *_field("precision", "; ".join(filter(None, [precision, trainable.summary]))),
        *_stages(config, steps),
    ]


def _costs(
    config: TrainingConfig, trainable: Trainable, steps: int, seconds_per_step: float | None, frames: int
) -> list[str]:
    memory = estimate_memory(trainable, config)
    shares = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "optimiser": memory.optimizer,
        "average": memory.average,
        "activations": memory.activations,
    }
    listed = " + ".join(f"{name} {_size(share)}" for name, share in shares.items() if share)
    device = _device(trainable)
    measured = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    peak = f"; measured so far {_size(measured)}" if measured else ""
    cache = frames * trainable.preparation.frame_bytes
    trained = sum(p.numel() * p.itemsize for p in trainable_parameters(trainable.module).values())
    state = trained + memory.optimizer + memory.average
    result = trainable.result_bytes()
    if seconds_per_step is None:
        time = "not measured yet"
    else:
        time = f"about {_duration(steps * seconds_per_step)} at {seconds_per_step:.3g} s a step, validation not counted"
    return [
        *_field("memory", f"about {_size(memory.total)}: {listed}{peak}"),
        *_field("disk", f"prepared frames {_size(cache)}, state {_size(state)}, result {_size(result)}"),
        *_field("time", time),
    ]


def _stages(config: TrainingConfig, steps: int) -> list[str]:
    lines = []
    for number, stage in enumerate(config.all_stages(steps)):
        weights = ", ".join(f"{name} {weight:g}" for name, weight in (stage.objectives or {}).items())
        frozen = f"; {', '.join(stage.freeze)} frozen" if stage.freeze else ""
        some = len(stage.data) < len(config.data.paths)
        frozen += f"; on {', '.join(_short(Path(path), WIDTH - 2 * _LABEL) for path in stage.data)}" if some else ""
        label = f"stage {number}" if config.stages else "objectives"
        lines += _field(label, f"{f'{stage.steps} steps for ' if config.stages else ''}{weights}{frozen}")
    return lines


def _device(trainable: Trainable) -> torch.device:
    return next(trainable.network.parameters()).device


def _files(config: TrainingConfig) -> list[str]:
    output = Path(config.output).resolve()
    result = "adapter" if config.lora else "checkpoint"
    return [
        *_field("result", _short(output / result, WIDTH - _LABEL)),
        *_field("beside it", "config.yaml, briefing.txt, metrics.jsonl, tensorboard, state.pt (to continue from)"),
        *_field("look at", f"{GRIPS}: the gripper must close in the pictures where it says so"),
        *_field("cache", _short(Path(config.data.cache).resolve(), WIDTH - _LABEL)),
    ]


# --- words ------------------------------------------------------------------------------------------------------------


def _field(label: str, text: str) -> list[str]:
    """The label, and the text on as many lines as it needs."""
    lines = textwrap.wrap(text, WIDTH - _LABEL) or [""]
    return [f"{label if number == 0 else '':<{_LABEL}}{line}" for number, line in enumerate(lines)]


def _short(path: Path, width: int) -> str:
    """The end of a path, which says more than its beginning."""
    text = str(path)
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def _count(number: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)


def _size(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _duration(seconds: float) -> str:
    """A duration in words, rounded to an estimate's precision."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
