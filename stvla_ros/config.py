"""Where the files of config/ lie."""

from pathlib import Path


def config_directory() -> Path:
    """Folder with the Fast DDS profile and the rviz configuration: the checkout's, else the installed one."""
    checkout = Path(__file__).parents[1] / "config"
    if (checkout / "fastdds.xml").is_file():
        return checkout
    from ament_index_python import get_package_share_directory

    return Path(get_package_share_directory("stvla_ros")) / "config"
