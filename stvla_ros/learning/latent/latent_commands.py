"""`stvla latent encode|decode|swap|plot`: what a latent action model makes of a recording or a data set."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from stvla_ros.atomic_files import write_json
from stvla_ros.errors import InputError
from stvla_ros.learning.latent.latent_codes import Codes, bits_of, read_codes, use_of, write_codes
from stvla_ros.learning.latent.latent_pages import Moment, moment_picture, write_latent_page, write_use_plot
from stvla_ros.learning.latent.latent_source import LatentArguments, opened_source, output_of, source_samples
from stvla_ros.settings import Range

_CODES, _SUMMARY = "codes.parquet", "summary.json"


@dataclass(frozen=True)
class EncodeArguments(LatentArguments):
    """Write the latent actions of every frame of a recording or a data set: codes.parquet, a row for each frame."""


@dataclass(frozen=True)
class DecodeArguments(LatentArguments):
    """Draw what given codes make of the frames that they are of: a picture for every moment, now beside predicted."""

    codes: str = ""
    """File of `stvla latent encode` on the same source."""
    moments: Annotated[int, Range(1, 1000)] = 12
    """Moments that are drawn, evenly over the source."""


@dataclass(frozen=True)
class SwapArguments(LatentArguments):
    """Decode the latent action of one moment on another scene's picture: does the same thing happen there?"""

    at: Annotated[float, Range(0.0, 1e6)] = 0.0
    """Seconds in the source's episode at which the latent action begins."""
    episode: Annotated[int, Range(0, 10**9)] = 0
    """Number of the source's episode."""
    onto: str = ""
    """Other recording or data set; empty: the source itself."""
    onto_at: Annotated[float, Range(0.0, 1e6)] = 0.0
    """Seconds in the other one's episode."""
    onto_episode: Annotated[int, Range(0, 10**9)] = 0
    """Number of the other one's episode."""


@dataclass(frozen=True)
class PlotArguments(LatentArguments):
    """A page for the browser: now, what the codes tell of the keyframes, and what came; and how the codes are used."""

    moments: Annotated[int, Range(1, 1000)] = 12
    """Moments that are drawn, evenly over the source."""


def encode(arguments: EncodeArguments) -> int:
    """:raises InputError: for a checkpoint or a source that cannot be used; then nothing was made."""
    folder = output_of(arguments)
    with opened_source(arguments, folder) as (model, samples, aside):
        actions = model.encode(samples, np.arange(len(samples)))
        write_codes(aside / _CODES, samples, actions, model.config.keyframes_s)
        live = ""
        if model.config.quantiser == "vq":
            used, codes = int((use_of(actions, model.config.codes).sum(axis=0) > 0).sum()), model.config.codes
            bits = ", ".join(f"{each:.1f}" for each in bits_of(actions, codes))
            live = f", {used} of {codes} codes used, {bits} bits a keyframe"
    print(f"{len(samples)} frames, {int(actions.valid.any(axis=1).sum())} with keyframes{live}: {folder / _CODES}")
    return 0


def decode(arguments: DecodeArguments) -> int:
    """:raises InputError: for a checkpoint, source or codes that cannot be used; then nothing was made."""
    if not arguments.codes:
        raise InputError("codes: expected a file of stvla latent encode, got none")
    codes = read_codes(Path(arguments.codes))
    folder = output_of(arguments)
    with opened_source(arguments, folder) as (model, samples, aside):
        _check_same(codes, samples, arguments, model.config.keyframes_s)
        chosen = _moments(codes.actions.valid, arguments.moments)
        told = model.decode(samples, chosen, codes.actions.codes[chosen])
        _draw(aside, _pictures(model, samples, chosen, told, came=False))
    print(f"{len(chosen)} moments in {folder}")
    return 0


def swap(arguments: SwapArguments) -> int:
    """:raises InputError: for a checkpoint, source or moment that cannot be used; then nothing was made."""
    folder = output_of(arguments)
    with opened_source(arguments, folder) as (model, samples, aside):
        of = _frame_at(samples, arguments.episode, arguments.at, "at", arguments.source)
        actions = model.encode(samples, np.array([of]))
        if not actions.valid.any():
            raise InputError(f"at: expected a moment with a keyframe after it, {arguments.source} ends too soon")
        onto, where = samples, arguments.onto or arguments.source
        if arguments.onto:
            onto = source_samples(replace(arguments, source=arguments.onto), model)
        place = _frame_at(onto, arguments.onto_episode, arguments.onto_at, "onto_at", where)
        chosen = np.array([of])
        own = model.decode(samples, chosen, actions.codes)
        other = model.decode(onto, np.array([place]), actions.codes)
        names = ("its own", "the other")
        pictures = [
            *_pictures(model, samples, chosen, own, came=True),
            *_pictures(model, onto, np.array([place]), other, came=False, valid=actions.valid),
        ]
        _draw(aside, [replace(each, title=f"{name}, {each.title}") for name, each in zip(names, pictures, strict=True)])
    print(f"the latent action of {arguments.source} at {arguments.at:g} s on {where}: {folder}")
    return 0


def plot(arguments: PlotArguments) -> int:
    """:raises InputError: for a checkpoint or a source that cannot be used; then nothing was made."""
    folder = output_of(arguments)
    with opened_source(arguments, folder) as (model, samples, aside):
        every = np.arange(len(samples))
        actions = model.encode(samples, every)
        chosen = _moments(actions.valid, arguments.moments)
        told = model.decode(samples, chosen, actions.codes[chosen])
        summary: dict[str, Any] = {"source": arguments.source, "checkpoint": arguments.checkpoint}
        summary |= {"frames": len(samples), "keyframes_s": list(model.config.keyframes_s)}
        summary |= model.explained(samples, chosen)
        use = None
        if model.config.quantiser == "vq":
            use = use_of(actions, model.config.codes)
            share = use.sum(axis=0) / max(use.sum(), 1)
            summary["codes_used"] = int((share > 0).sum())
            summary["perplexity"] = float(np.exp(-(share[share > 0] * np.log(share[share > 0])).sum()))
            summary["code_bits"] = bits_of(actions, model.config.codes)
            write_use_plot(aside / "use.png", use, model.config.keyframes_s)
        names = _draw(aside, _pictures(model, samples, chosen, told, came=True))
        write_json(aside / _SUMMARY, summary)
        write_latent_page(aside, summary, names, use is not None)
    print(f"{len(chosen)} moments: {folder / 'index.html'}")
    return 0


# --- parts ------------------------------------------------------------------------------------------------------------


def _moments(valid: np.ndarray, most: int) -> np.ndarray:
    """Numbers of frames, evenly over those that have all keyframes; over those that have any, where none has all."""
    whole = np.flatnonzero(valid.all(axis=1))
    some = whole if len(whole) else np.flatnonzero(valid.any(axis=1))
    if not len(some):
        raise InputError("source: expected a frame with a keyframe after it, there is none: its clips are too short")
    return some[np.unique(np.linspace(0, len(some) - 1, most).round().astype(int))]


def _frame_at(samples: Any, episode: int, seconds: float, name: str, source: str) -> int:
    """Number of the frame that is nearest to a time of an episode."""
    rows = np.flatnonzero(samples.episode == episode)
    if not len(rows):
        raise InputError(f"episode: expected 0 to {int(samples.episode.max())}, which {source} has, got {episode}")
    since = (samples.stamps[rows] - samples.stamps[rows[0]]) / 1e9
    if seconds > since[-1]:
        raise InputError(f"{name}: expected 0 to {since[-1]:.3g} s, as long as {source} is, got {seconds:g}")
    return int(rows[np.abs(since - seconds).argmin()])


def _check_same(codes: Codes, samples: Any, arguments: DecodeArguments, keyframes_s: tuple[float, ...]) -> None:
    if not np.array_equal(codes.stamps, samples.stamps) or not np.array_equal(codes.episodes, samples.episode):
        raise InputError(
            f"codes {arguments.codes}: expected those of {arguments.source}, frame by frame, they are of other frames"
        )
    if codes.keyframes_s != tuple(keyframes_s):
        raise InputError(
            f"codes {arguments.codes}: expected keyframes at {_listed(keyframes_s)} s, they have "
            f"{_listed(codes.keyframes_s)}"
        )


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{each:g}" for each in numbers)


def _pictures(
    model: Any, samples: Any, chosen: np.ndarray, told: Any, came: bool, valid: np.ndarray | None = None
) -> list[Moment]:
    """What is drawn of each moment.

    :param came: whether what came is shown.
    :param valid: (N, T) which keyframes are shown; None: those that there are.
    """
    seen = model.seen(samples, chosen)
    if valid is None:
        valid = model.encode(samples, chosen).valid
    moments = []
    for row, index in enumerate(chosen):
        first = np.searchsorted(samples.episode, samples.episode[index])
        since = (samples.stamps[index] - samples.stamps[first]) / 1e9
        depths = told.depth is not None
        moments.append(
            Moment(
                title=f"episode {samples.episode[index]}, {since:.1f} s",
                now=(seen.rgb[row, 0], seen.depth[row, 0] if depths else None),
                predicted=[
                    (told.rgb[row, k], told.depth[row, k] if depths else None) if valid[row, k] else None
                    for k in range(valid.shape[1])
                ],
                came=[
                    (seen.rgb[row, k + 1], seen.depth[row, k + 1] if depths else None) if valid[row, k] else None
                    for k in range(valid.shape[1])
                ]
                if came
                else None,
                keyframes_s=tuple(model.config.keyframes_s),
            )
        )
    return moments


def _draw(folder: Path, moments: list[Moment]) -> list[str]:
    """Write a picture for each. :returns: their names."""
    import cv2

    names = []
    for number, moment in enumerate(moments):
        names.append(f"moment_{number:03d}.png")
        cv2.imwrite(str(folder / names[-1]), cv2.cvtColor(moment_picture(moment), cv2.COLOR_RGB2BGR))
    return names
