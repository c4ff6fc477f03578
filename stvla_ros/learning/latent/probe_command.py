"""`stvla latent probe`: how much of the arm's motion is in the latent actions."""

from dataclasses import dataclass
from typing import Annotated

from stvla_ros.atomic_files import write_json
from stvla_ros.learning.latent.latent_source import LatentArguments, opened_source, output_of
from stvla_ros.settings import Range

_TABLE, _NUMBERS = "probe.md", "probe.json"
_NOTE = (
    "R² of ridge regression on episodes that it has not seen, with 95 % intervals by episode: 1 is all of the motion "
    "until the keyframe, 0 is as good as its mean. x, y, z and the turn about the vertical are in the base frame. "
    "noise: what was executed beyond the expert's actions until then, x y z together; only the change tells it. What a "
    "latent action does not tell better than the other lines is not its own."
)


@dataclass(frozen=True)
class ProbeArguments(LatentArguments):
    """Measure how much of the arm's motion is in the latent actions: R² by keyframe, beside an untrained model, the
    main directions of the pictures' changes, and the present alone. The source is a data set that tells the arm's pose.
    """

    frames: Annotated[int, Range(10, 1_000_000)] = 4000
    """Frames that are asked about at most, evenly over all that have every keyframe."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of the untrained model, of the episodes' halves and of the intervals."""


def probe(arguments: ProbeArguments) -> int:
    """:raises InputError: for a checkpoint or a source that cannot be used; then nothing was made."""
    from stvla_ros.learning.latent.latent_probe import probe_json, probe_rows, probe_table, probed_frames

    with opened_source(arguments, output_of(arguments), tells_actions=True) as (model, samples, folder):
        asked = probed_frames(samples, model.config.keyframes_s, arguments.frames, arguments.source)
        rows = probe_rows(model, samples, asked, arguments.seed)
        episodes = len(set(asked.episodes.tolist()))
        about = f"{len(asked.rows)} frames of {episodes} episodes of {arguments.source}, {arguments.checkpoint}"
        text = f"{probe_table(rows)}\n{about}\n\n{_NOTE}\n"
        (folder / _TABLE).write_text(text, encoding="utf-8")
        content = {"source": arguments.source, "checkpoint": arguments.checkpoint, "seed": arguments.seed}
        counts = {"frames": len(asked.rows), "episodes": episodes}
        write_json(folder / _NUMBERS, {**content, **counts, "rows": probe_json(rows)})
    print(text)
    return 0
