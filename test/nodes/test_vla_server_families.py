"""The real action server with the checkpoint of a family that somebody else's package adds."""

import sys
from pathlib import Path

import numpy as np
from chunk_server import ChunkServer
from installed_packages import write_package
from live_graph import live_graph

MODULE = (Path(__file__).parents[1] / "policy/linear_family.py").read_text()


def make_checkpoint(folder: Path, package: Path) -> Path:
    """A new one, made with the package's own writer; this process does not have it installed."""
    sys.path.insert(0, str(package))
    try:
        from linear_server_family import FEATURES, write
    finally:
        sys.path.remove(str(package))
    folder.mkdir()
    write(folder, {"map.weight": np.zeros((14, 2 * FEATURES), np.float32), "map.bias": np.full(14, 0.01, np.float32)})
    return folder


def test_a_checkpoint_of_an_added_family_is_served(tmp_path: Path) -> None:
    package = tmp_path / "package"
    points = {"families": {"linear": "linear_server_family:LinearFamily"}}
    write_package(package, "linear_server", {"linear_server_family": MODULE}, points)
    checkpoint = make_checkpoint(tmp_path / "checkpoint", package)
    with live_graph(tmp_path) as graph:
        server = ChunkServer(graph, tmp_path, package=package, policy="stvla", checkpoint=str(checkpoint))
        handle = server.send("anything")
        server.watch(1.5)
        server.cancel(handle)
        assert len(server.commands) >= 3
        first = server.chunks[0]
        assert first.policy == "stvla" and len(first.actions) == 2
        assert np.allclose([first.actions[0].translation.x, first.actions[1].gripper], 0.01)
