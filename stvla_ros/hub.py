"""The Hugging Face hub: checks within seconds, before anything is started, whether something can be downloaded."""

import re
from functools import cache

from stvla_ros.errors import InputError, reason_of

# Somebody who has typed a command waits for the answer.
_TIMEOUT_S = 2.0
_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_id(text: str) -> bool:
    """Whether a text has the form of an id, OWNER/NAME. Many relative paths have it too."""
    return bool(_ID.fullmatch(text)) and not text.startswith(".")


def is_cached(repository: str, file: str) -> bool:
    """Whether a file of the repository was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)


@cache
def check_id(what: str, repository: str) -> None:
    """Ask the hub whether a repository exists. Nothing is downloaded.

    :param what: word for the thing in the error, such as ``checkpoint``.
    :param repository: id of the repository.
    :raises InputError: when there is none, or the hub does not answer at once.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(repository, timeout=_TIMEOUT_S)
    except Exception as error:  # the hub client raises many unrelated types
        raise not_had(what, repository, error) from error


def not_had(what: str, repository: str, error: Exception) -> InputError:
    """The error for a repository that the hub did not supply."""
    return InputError(
        f"{what} {repository}: there is no such folder, and the hub has none ({reason_of(error)}); on a "
        f"machine with internet: hf download {repository} --local-dir FOLDER, then give FOLDER"
    )
