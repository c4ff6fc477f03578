"""Where the files that come with the package lie: config/ and models/."""

from pathlib import Path


def config_directory() -> Path:
    """Folder with the Fast DDS profile and the rviz configuration: the checkout's, else the installed one."""
    return _shared("config", "fastdds.xml")


def default_checkpoint() -> Path:
    """Folder of the small policy that comes with the package (docs/learning.md says how it was trained)."""
    return _shared("models", "small/config.json") / "small"


def _shared(folder: str, file: str) -> Path:
    checkout = Path(__file__).parents[1] / folder
    if (checkout / file).is_file():
        return checkout
    from ament_index_python import get_package_share_directory

    return Path(get_package_share_directory("stvla_ros")) / folder
