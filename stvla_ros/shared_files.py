"""Places of files: those of the package (config/, models/), and large ones that several checkouts share."""

from pathlib import Path


def config_directory() -> Path:
    """Folder with the Fast DDS profile and the rviz configuration: the checkout's, else the installed one."""
    return _installed("config", "fastdds.xml")


DEFAULT_MODEL = "small"
"""Name of the shipped policy (docs/how-to/train-a-policy.md)."""


def default_checkpoint() -> Path:
    """Folder of the shipped small policy."""
    return _installed("models", f"{DEFAULT_MODEL}/config.json") / DEFAULT_MODEL


def shipped_models() -> dict[str, Path]:
    """The shipped checkpoints: folders by name; empty where they were not installed."""
    try:
        models = default_checkpoint().parent
    except LookupError:  # neither a checkout nor an installed package
        return {}
    return {file.parent.name: file.parent for file in sorted(models.glob("*/config.json"))}


def shared_folders(name: str) -> list[Path]:
    """Places of a folder that several checkouts on one machine may share: ``../shared`` beside the checkout and beside
    the working directory. None of them has to exist. An environment variable can name each such folder instead, and
    code that misses one does without it and says so.

    :param name: name of the folder below ``shared``.
    """
    checkout = Path(__file__).resolve().parents[1]
    return [folder.parent / "shared" / name for folder in (checkout, Path.cwd().resolve())]


def _installed(folder: str, file: str) -> Path:
    checkout = Path(__file__).parents[1] / folder
    if (checkout / file).is_file():
        return checkout
    from ament_index_python import get_package_share_directory

    return Path(get_package_share_directory("stvla_ros")) / folder
