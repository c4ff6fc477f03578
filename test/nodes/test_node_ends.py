"""How a node's process ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_graph import LiveGraph, live_graph
from node_process import NodeProcess


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[LiveGraph]:
    with live_graph(tmp_path) as graph:
        yield graph


def test_the_exit_code_is_the_nodes_own_however_the_interpreter_would_end(tmp_path: Path) -> None:
    program = tmp_path / "crashes_at_its_end.py"
    program.write_text(
        "import atexit, os, signal\n"
        "from stvla_ros.nodes.perception.depth import main\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGSEGV))\n"
        "main()\n"
    )
    process = NodeProcess("depth", tmp_path, {"depth_parameters": "{nonsense: 1}"}, program=program)
    try:
        assert process.wait() == 2, process.output
    finally:
        process.kill()


def _memory() -> set[Path]:
    """The participants' shared memory; ports belong to the machine."""
    return {file for file in Path("/dev/shm").glob("fastrtps_*") if "port" not in file.name}


@pytest.mark.parametrize(
    ("name", "parameters"), [("tracker", {}), ("vla_server", {"policy": "expert"}), ("episode_recorder", {})]
)
def test_an_interrupted_node_leaves_no_shared_memory_behind(
    name: str, parameters: dict[str, Any], graph: LiveGraph, tmp_path: Path
) -> None:
    if name == "episode_recorder":
        parameters = {"output": str(tmp_path / "bags")}
    others = _memory()
    process = graph.start(name, **parameters)
    graph.until(lambda: name in graph.statuses, f"{name} runs")
    # The memory of other tests' nodes is not mapped by this one.
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    own = {file for file in _memory() - others if str(file) in maps}
    assert own, "it talks through shared memory"
    assert process.interrupt() == 0, process.output
    assert not own & _memory()
