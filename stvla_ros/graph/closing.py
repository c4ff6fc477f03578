"""The messages at the end of a run."""

from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.graph.specification import Graph
from stvla_ros.recordings.run_page import PAGE, SUMMARY, VIDEO, outcome
from stvla_ros.safe_files import read_json_file


def closing_line(folder: Path) -> str:
    """One line about the outcome of the run in this folder, with the paths of its video and its page."""
    parts = []
    try:
        parts.append(outcome(read_json_file(folder / SUMMARY)))
    except (OSError, InputError, LookupError, TypeError, AttributeError):
        pass  # it ended before it had any result
    for name, file in (("video", VIDEO), ("page", PAGE)):
        if (folder / file).is_file():
            parts.append(f"{name}: {folder / file}")
    return " · ".join(parts) if len(parts) > 1 else f"results in {folder}"


def lacks_video(graph: Graph) -> bool:
    """Whether the run should have left a video but did not."""
    recorders = [node.parameters["episode_recorder"] for node in graph.nodes if node.executable == "episode_recorder"]
    return any(each.get("video", True) for each in recorders) and not (graph.run_directory / VIDEO).is_file()
