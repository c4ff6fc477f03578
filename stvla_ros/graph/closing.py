"""What is said when a run has ended."""

from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.graph.specification import Graph
from stvla_ros.recordings.run_page import PAGE, SUMMARY, VIDEO, outcome
from stvla_ros.safe_files import read_json_file


def closing_line(folder: Path) -> str:
    """One line on how the run in this folder went, and where its video and its page are."""
    parts = []
    try:
        parts.append(outcome(read_json_file(folder / SUMMARY)))
    except (OSError, InputError, LookupError, TypeError, AttributeError):
        pass  # it ended before there was anything to tell
    for name, file in (("video", VIDEO), ("page", PAGE)):
        if (folder / file).is_file():
            parts.append(f"{name}: {folder / file}")
    return " · ".join(parts) if len(parts) > 1 else f"results in {folder}"


def lacks_video(graph: Graph) -> bool:
    """Whether the run was to leave a video and left none."""
    recorders = [node.parameters["episode_recorder"] for node in graph.nodes if node.executable == "episode_recorder"]
    return any(each.get("video", True) for each in recorders) and not (graph.run_directory / VIDEO).is_file()
