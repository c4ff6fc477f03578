"""Grounding data: pictures, each with a question and its answer in words, from any source.

Files of JSON lines; pictures are named relative to the file's folder. A line is one of

* LLaVA's: ``{"image": "images/7.png", "conversations": [{"from": "human", "value": "<image>\\nbox of the plate"},
  {"from": "gpt", "value": "{\\"bbox_2d\\": [12, 34, 56, 78], \\"label\\": \\"plate\\"}"}, …]}``. Places are pixels of
  that picture, in any text around them (``places.py``). ``stvla record --grounding`` writes these.
* RefCOCO's: ``{"image": "7.jpg", "sentences": ["the plate"], "bbox": [x, y, width, height]}``; ``"sentence"`` for one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.grounding.places import PictureMove, box_text, first_outside, moved_text
from stvla_ros.policy.samples import SeenQuestion
from stvla_ros.recordings.pixels import decode_picture, picture_size
from stvla_ros.safe_files import check_limit, json_lines, read_bytes
from stvla_ros.settings import shown

QUESTIONS = "questions.jsonl"
FOLDER = "grounding"
"""Folder of a data set in which the questions lie beside its demonstrations."""
IMAGE_MARK = "<image>"
HUMAN, MODEL = "human", "gpt"
_SENTENCES = ("sentences", "sentence")
_MOST_TEXT = 4000


@dataclass(frozen=True)
class GroundingSample:
    """
    :param picture: file of the picture.
    :param size: (width, height) of the picture.
    :param question, answer: texts; places in them are pixels of the picture.
    :param form: form of the question (``questions.FORMS``); empty where the file does not tell it.
    """

    picture: Path
    size: tuple[int, int]
    question: str
    answer: str
    form: str = ""


class GroundingQuestions:
    """``Questions`` that are read from files.

    :param crop: share of each side of a picture that may be cut away.
    :param flip: share of the pictures that are mirrored; never those whose texts name left or right.
    """

    def __init__(self, samples: Sequence[GroundingSample], crop: float = 0.0, flip: float = 0.0) -> None:
        self._samples, self._crop, self._flip = tuple(samples), crop, flip

    def __len__(self) -> int:
        return len(self._samples)

    def see(self, number: int, size: int, random: np.random.Generator | None = None) -> SeenQuestion:
        """:raises InputError: for a picture that can no longer be read, or has another size than before."""
        sample = self._samples[number]
        rgb = _read(sample.picture)
        if rgb.shape[1::-1] != sample.size:
            raise InputError(f"{sample.picture}: expected {sample.size} pixels as before, got {rgb.shape[1::-1]}")
        plain = PictureMove((0.0, 0.0, float(sample.size[0]), float(sample.size[1])), (size, size))
        moves = [plain] if random is None else [self._drawn(plain, random), plain]
        for move in moves:
            texts = [moved_text(text, move) for text in (sample.question, sample.answer)]
            if texts[0] is not None and texts[1] is not None:
                return SeenQuestion(_moved_picture(rgb, move), texts[0], texts[1])
        raise InputError(f"{sample.picture}: expected places that can be told in {size} pixels, got {sample.answer}")

    def _drawn(self, plain: PictureMove, random: np.random.Generator) -> PictureMove:
        """A random window inside the picture; the two sides are drawn independently."""
        sides = np.array(plain.window[2:])
        kept = sides * random.uniform(1.0 - self._crop, 1.0, 2)
        corner = random.uniform(0.0, 1.0, 2) * (sides - kept)
        mirrored = bool(random.random() < self._flip)
        if not self._crop:
            return replace(plain, mirrored=mirrored)
        x0, y0, x1, y1 = (float(each) for each in (*corner, *(corner + kept)))
        return PictureMove((x0, y0, x1, y1), plain.size, mirrored)


def read_grounding(path: Path) -> list[GroundingSample]:
    """All questions of a file, or of a folder with ``questions.jsonl`` in it or in its ``grounding``.

    :raises InputError: naming the file, the line and the unusable part; also for a file without questions.
    """
    file = _find(path)
    samples: list[GroundingSample] = []
    sizes: dict[Path, tuple[int, int]] = {}
    try:
        for number, line in enumerate(json_lines(file), 1):
            where = f"{file}, entry {number}"
            if not isinstance(line, dict):
                raise InputError(f"{where}: expected an object, got {shown(line)}")
            picture = _picture(line, file.parent, where)
            if picture not in sizes:
                sizes[picture] = _size(picture, where)
            for question, answer in _asked(line, where):
                sample = _checked(picture, sizes[picture], question, answer, where)
                samples.append(replace(sample, form=str(line.get("form", ""))))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({reason_of(error)})") from None
    if not samples:
        raise InputError(f"{file}: expected at least one question, it has none")
    return samples


def _moved_picture(rgb: np.ndarray, move: PictureMove) -> np.ndarray:
    whole = (0.0, 0.0, float(rgb.shape[1]), float(rgb.shape[0]))
    if move.window != whole or move.size != rgb.shape[1::-1]:
        rgb = np.asarray(Image.fromarray(rgb).resize(move.size, Image.Resampling.BICUBIC, box=move.window))
    return np.ascontiguousarray(rgb[:, ::-1]) if move.mirrored else rgb


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    for file in (path / QUESTIONS, path / FOLDER / QUESTIONS):
        if file.is_file():
            return file
    raise InputError(f"grounding data {path}: expected a file of JSON lines, or a folder with {QUESTIONS}, got neither")


def _picture(line: Mapping[str, Any], folder: Path, where: str) -> Path:
    name = line.get("image")
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: expected image, a file's name, got {shown(name)}")
    check_limit("path_characters", len(name), where, "characters of a path")
    return folder / name


def _size(picture: Path, where: str) -> tuple[int, int]:
    """(width, height), from the file's header."""
    size = picture_size(_bytes(picture, where))
    if size is None:
        raise InputError(f"{where}: image: expected a PNG or JPEG, {picture} is none")
    check_limit("picture_pixels", size[0] * size[1], str(picture), "pixels")
    return size


def _read(picture: Path) -> np.ndarray:
    """(H, W, 3) uint8 rgb."""
    decoded = decode_picture(_bytes(picture, str(picture)), cv2.IMREAD_COLOR)
    if decoded is None:
        raise InputError(f"{picture}: expected a picture, it cannot be decoded")
    return np.ascontiguousarray(decoded[..., ::-1])


def _bytes(picture: Path, where: str) -> np.ndarray:
    try:
        return np.frombuffer(read_bytes(picture, "picture_bytes"), np.uint8)
    except OSError as error:
        raise InputError(f"{where}: image: cannot be read ({reason_of(error)})") from None


def _asked(line: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """The questions and answers of a line."""
    if "conversations" in line:
        yield from _conversation(line["conversations"], where)
    elif any(key in line for key in _SENTENCES):
        yield from _referred(line, where)
    else:
        raise InputError(f"{where}: expected conversations (LLaVA) or sentences and bbox (RefCOCO), got neither")


def _conversation(turns: Any, where: str) -> Iterator[tuple[str, str]]:
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise InputError(f"{where}: conversations: expected turns of {HUMAN} and {MODEL}, got {shown(turns)}")
    for number, turn in enumerate(turns):
        speaker = (HUMAN, MODEL)[number % 2]
        said = turn if isinstance(turn, dict) else {}
        if said.get("from") != speaker or not isinstance(said.get("value"), str):
            raise InputError(
                f"{where}: conversations[{number}]: expected a value (text) from {speaker}, got {shown(turn)}"
            )
    for asked, answered in zip(turns[::2], turns[1::2], strict=True):
        yield asked["value"].replace(IMAGE_MARK, "").strip(), answered["value"].strip()


def _referred(line: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    sentences, box = line.get("sentences", line.get("sentence")), line.get("bbox")
    named = [sentences] if isinstance(sentences, str) else sentences
    if not isinstance(named, list) or not named or not all(isinstance(each, str) and each.strip() for each in named):
        raise InputError(f"{where}: sentences: expected texts that name one thing, got {shown(sentences)}")
    numbers = isinstance(box, list) and all(isinstance(each, int | float) for each in box) and len(box) == 4
    # A comparison with NaN is false.
    if not numbers or not (box[2] > 0 and box[3] > 0 and all(abs(each) < 1e6 for each in box)):
        raise InputError(f"{where}: bbox: expected [x, y, width, height] in pixels, got {shown(box)}")
    corners = [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    for sentence in named:
        name = sentence.strip()
        yield f"box of {name}", box_text(corners, name)


def _checked(picture: Path, size: tuple[int, int], question: str, answer: str, where: str) -> GroundingSample:
    for what, text in (("question", question), ("answer", answer)):
        if not text or len(text) > _MOST_TEXT:
            raise InputError(f"{where}: expected {what}s of 1 to {_MOST_TEXT} characters, got {len(text)}")
        if outside := first_outside(text, size):
            raise InputError(f"{where}: expected places within the picture's {size[0]}x{size[1]} pixels, got {outside}")
    return GroundingSample(picture, size, question, answer)
