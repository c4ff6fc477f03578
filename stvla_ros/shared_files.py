"""Where files lie: those that come with the package (config/, models/), and large ones that checkouts share."""

from pathlib import Path


def config_directory() -> Path:
    """Folder with the Fast DDS profile and the rviz configuration: the checkout's, else the installed one."""
    return _installed("config", "fastdds.xml")


DEFAULT_MODEL = "small"
"""Name of the policy that comes with the package (docs/how-to/train-a-policy.md)."""


def default_checkpoint() -> Path:
    """Folder of the small policy that comes with the package."""
    return _installed("models", f"{DEFAULT_MODEL}/config.json") / DEFAULT_MODEL


def shipped_models() -> dict[str, Path]:
    """The checkpoints that come with the package: folders by name; none where they were not installed."""
    try:
        models = default_checkpoint().parent
    except LookupError:  # neither a checkout nor an installed package
        return {}
    return {file.parent.name: file.parent for file in sorted(models.glob("*/config.json"))}


def shared_folders(name: str) -> list[Path]:
    """Where a folder may lie that several checkouts on one machine have in common: ``../shared`` beside the checkout
    and beside the working directory. Nothing needs to be there: every such folder can be named by a variable of the
    environment instead, and what lacks one does without it and says so.

    :param name: of the folder, below ``shared``.
    """
    checkout = Path(__file__).resolve().parents[1]
    return [folder.parent / "shared" / name for folder in (checkout, Path.cwd().resolve())]


def _installed(folder: str, file: str) -> Path:
    checkout = Path(__file__).parents[1] / folder
    if (checkout / file).is_file():
        return checkout
    from ament_index_python import get_package_share_directory

    return Path(get_package_share_directory("stvla_ros")) / folder
