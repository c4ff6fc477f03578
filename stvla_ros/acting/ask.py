"""`stvla ask`: asks a policy's language model about a picture; the answer is words and a drawing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro

from stvla_ros.atomic_files import whole_file
from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoint_places import find_checkpoint
from stvla_ros.policy.drawn_thoughts import draw_thoughts
from stvla_ros.policy.families import GROUNDING, family_of
from stvla_ros.policy.grounding.answers import WAY, thoughts_of_answer
from stvla_ros.policy.thoughts import Boxes, Points, Thought
from stvla_ros.recordings.pixels import decode_picture
from stvla_ros.safe_files import read_bytes


@dataclass(frozen=True)
class AskArguments:
    """Ask a policy that can answer in words (ST4VLA) where things are in a picture."""

    question: Annotated[str, tyro.conf.Positional]
    """Request, such as "box of the green block" (docs/reference/grounding.md)."""
    image: str
    """Picture, PNG or JPEG."""
    checkpoint: str
    """Checkpoint: a folder or a hub id."""
    output: str = ""
    """PNG in which the answer is drawn; empty for none."""
    device: str = "auto"
    """Device: auto, cpu, cuda or cuda:N."""
    dtype: str = "auto"
    """Number format of the weights: auto, float32, float16 or bfloat16."""
    most_tokens: int = 256
    """Number of tokens at which an answer is cut off."""


def main(arguments: AskArguments) -> int:
    """:raises InputError: for a bad argument, a picture or a checkpoint that cannot be used."""
    rgb = _read(Path(arguments.image))
    if arguments.output and not arguments.output.lower().endswith(".png"):
        raise InputError(f"output: expected a file with the ending .png, got {arguments.output!r}")
    folder = find_checkpoint(arguments.checkpoint)
    family = family_of(folder)
    if GROUNDING not in family.objectives:
        raise InputError(f"checkpoint {folder}: expected one that answers in words, family {family.name} does not")
    model = family.load(folder, arguments.device, arguments.dtype)
    answer = model.ask([rgb], arguments.question, arguments.most_tokens)
    thoughts = thoughts_of_answer(answer, model.picture_size, rgb)
    print(json.dumps({"answer": answer, **_plain(thoughts)}, ensure_ascii=False))
    if arguments.output:
        _write(Path(arguments.output), draw_thoughts(rgb, thoughts))
    return 0


def _plain(thoughts: Mapping[str, Thought]) -> dict[str, Any]:
    """The thoughts in types that JSON can hold, in pixels of the picture."""
    plain: dict[str, Any] = {}
    for name, thought in thoughts.items():
        if not isinstance(thought, Boxes | Points):
            continue
        places = thought.corners if isinstance(thought, Boxes) else thought.places
        rows = np.round(places, 1).tolist()
        if name == WAY:
            plain[name] = rows
        else:
            labels = thought.labels or ("",) * len(rows)
            plain[name] = [{"at": row, "label": label} for row, label in zip(rows, labels, strict=True)]
    return plain


def _read(file: Path) -> np.ndarray:
    """(H, W, 3) uint8 rgb."""
    try:
        decoded = decode_picture(read_bytes(file, "picture_bytes"))
    except OSError as error:
        raise InputError(f"image {file}: cannot be read ({reason_of(error)})") from None
    if decoded is None:
        raise InputError(f"image {file}: expected a PNG or JPEG, it is another kind of file, or damaged")
    return np.ascontiguousarray(decoded[..., ::-1])


def _write(file: Path, rgb: np.ndarray) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as aside:
            aside.write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    except OSError as error:
        raise InputError(f"output {file}: cannot be written ({reason_of(error)})") from None
