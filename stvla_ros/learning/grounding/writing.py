"""Grounding data on disk: ``questions.jsonl`` (LLaVA's layout, ``reading.py``) and its pictures in ``images``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stvla_ros.atomic_files import whole_file, whole_folder
from stvla_ros.errors import InputError, reason_of
from stvla_ros.learning.datasets.lerobot.png import encode_png
from stvla_ros.learning.grounding.questions import Question
from stvla_ros.learning.grounding.reading import HUMAN, IMAGE_MARK, MODEL, QUESTIONS
from stvla_ros.policy.pictures import prepare_picture
from stvla_ros.safe_files import check_npz

SIZE = 224
"""Side of the pictures that are kept, pixels: the size that the published model sees, so that answers are in its
pixels."""
_IMAGES = "images"


@dataclass(frozen=True, eq=False)
class AskedPicture:
    """
    :param rgb: (H, W, 3) uint8, as the camera saw it.
    :param questions: questions about it; places in them are pixels of the picture of ``SIZE``.
    """

    rgb: np.ndarray
    questions: Sequence[Question]


def stage(file: Path, pictures: Sequence[AskedPicture]) -> None:
    """Keep pictures until all are there; ``file`` appears only when it is complete."""
    seen = [np.round(255.0 * prepare_picture(each.rgb, SIZE).transpose(1, 2, 0)).astype(np.uint8) for each in pictures]
    files = encode_png([each[..., ::-1] for each in seen])
    asked = json.dumps([[asdict(question) for question in each.questions] for each in pictures])
    with whole_file(file) as aside, aside.open("wb") as stream:
        octets = np.concatenate([np.empty(0, np.uint8), *files])
        np.savez(stream, pictures=octets, ends=np.cumsum([len(each) for each in files]), asked=np.array(asked))


def write_grounding(folder: Path, staged: Iterable[Path]) -> tuple[int, int]:
    """
    :param folder: new folder; it appears when it is complete.
    :param staged: files from ``stage``, in the order of their pictures.
    :returns: the numbers of pictures and of questions.
    :raises InputError: for a damaged file, or when the disk fails.
    """
    pictures = questions = 0
    try:
        with whole_folder(folder) as aside:
            (aside / _IMAGES).mkdir()
            with (aside / QUESTIONS).open("w", encoding="utf-8") as lines:
                for file in staged:
                    for octets, asked in _staged(file):
                        name = f"{_IMAGES}/{pictures:07d}.png"
                        (aside / name).write_bytes(octets)
                        for question in asked:
                            lines.write(json.dumps(_line(questions, name, question), ensure_ascii=False) + "\n")
                            questions += 1
                        pictures += 1
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({reason_of(error)})") from error
    return pictures, questions


def _line(number: int, image: str, question: Question) -> dict:
    return {
        "id": f"{number:08d}",
        "image": image,
        "conversations": [
            {"from": HUMAN, "value": f"{IMAGE_MARK}\n{question.text}"},
            {"from": MODEL, "value": question.answer},
        ],
        "form": question.form,
    }


def _staged(file: Path) -> list[tuple[bytes, list[Question]]]:
    try:
        check_npz(file)
        with np.load(file, allow_pickle=False) as stored:
            files = np.split(stored["pictures"], stored["ends"][:-1]) if len(stored["ends"]) else []
            asked = [[Question(**each) for each in some] for some in json.loads(str(stored["asked"]))]
            return [(each.tobytes(), some) for each, some in zip(files, asked, strict=True)]
    except Exception as error:  # whatever NumPy, zipfile and json run into
        raise InputError(f"{file}: expected pictures with questions ({type(error).__name__}: {error})") from error
