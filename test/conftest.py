"""Before ROS 2 is loaded: a domain of its own for every test process, so that no other graph is heard."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import hypothesis
import pytest
from examples import as_many
from installed_packages import write_package

from stvla_ros.graph.domains import own_domain

# Tests that start ROS nodes, a simulator or an evaluation's workers are marked live; `make check` leaves them out.
# By the beginning of the path.
_LIVE = (
    "doctor/test_doctor_live",
    "evaluation/test_direct_equals_live",
    "evaluation/test_eval_command",
    "evaluation/test_live_",
    "evaluation/test_runner",
    "faults/",
    "fuzz/",
    "launch/test_rviz",
    "launch/test_whole_graphs",
    "launch/test_stop_and_fail",
    "learning/test_convert_live_run",
    "learning/test_demonstrations",
    "nodes/",
    "plugins/test_how_to",
    "sim/test_expert_in_simulator",
    "sim/test_maniskill",
    "sim/test_placements",
    "sim/test_point_tracks",
    "sim/test_shaders",
    "sim/test_simpler_env.py",
    "tools/test_security_policy",
)
_NOT_LIVE = (
    "nodes/test_alarm",
    "nodes/test_camera_distrust",
    "nodes/test_command_inbox",
    "nodes/test_compat_choice",
    "nodes/test_compat_cv_bridge",
    "nodes/test_compat_tf_transformations",
    "nodes/test_deadman",
    "nodes/test_end_wait",
    "nodes/test_driver_begins",
    "nodes/test_driver_in_process",
    "nodes/test_driver_of_a_run",
    "nodes/test_goals_and_driver",
    "nodes/test_latch_properties",
    "nodes/test_driver_latch",
    "nodes/test_driver_times",
    "nodes/test_messages",
    "nodes/test_node_lifecycle",
    "nodes/test_realtime",
    "nodes/test_run_identity",
    "nodes/test_stage_",
    "nodes/test_release_",
    "nodes/test_ticker",
    "nodes/test_vla_server_in_process",
    "nodes/test_vla_server_st4vla",
    "nodes/test_what_nodes_load",
)

# Files of a minute or more, the dearest first; then other live ones: with the cheap files last, the processes of `make
# test` end together.
_DEAR = (
    "nodes/test_vla_server_chunks",
    "learning/test_training_briefing",
    "plugins/test_how_to_pages",
    "learning/test_training_stages",
    "learning/test_training_run",
    "learning/test_corrections",
    "nodes/test_sim_bridge",
    "nodes/test_joint_plant",
    "nodes/test_replay",
)

# Files that take longest for what they hold. `make test-long` runs them, and so does continuous integration; without
# them `make test` takes a quarter of an hour on two cores.
_LONG = (
    "evaluation/test_direct_equals_live",
    "evaluation/test_live_episodes",
    "evaluation/test_runner",
    "launch/test_stop_and_fail",
    "launch/test_whole_graphs",
    "learning/test_chunk_training",
    "learning/test_corrections",
    "learning/test_demonstrations",
    "learning/test_latent.py",
    "learning/test_training_briefing",
    "learning/test_training_clips",
    "learning/test_training_earlier",
    "learning/test_training_run",
    "learning/test_training_samples",
    "learning/test_training_ssm_vla",
    "learning/test_training_st4vla",
    "learning/test_training_stages",
    "learning/test_training_traces",
    "nodes/test_bag_recorder",
    "nodes/test_goal_begins",
    "nodes/test_joint_plant",
    "nodes/test_live_parity",
    "nodes/test_record_and_replay",
    "nodes/test_replay",
    "nodes/test_sim_bridge",
    "nodes/test_vla_server_chunks",
    "nodes/test_widowx_driver_starts",
    "plugins/test_how_to_pages",
    "policy/test_kernel_count",
    "sim/test_expert_in_simulator",
    "sim/test_memory_tasks_in_simulator",
)

Installed = Callable[..., AbstractContextManager[Path]]

# Held until the process ends: by the graph of another test run on this machine, drivers find that they are not alone.
_DOMAIN = contextlib.ExitStack()
os.environ["ROS_DOMAIN_ID"] = str(_DOMAIN.enter_context(own_domain()))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# What latched in one run is none of the next one's business, and never of this machine's robots.
_STATE = tempfile.TemporaryDirectory(prefix="stvla_state_")
os.environ["XDG_STATE_HOME"] = _STATE.name
# Several node processes on few cores: threads of theirs only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("examples", as_many(100))
hypothesis.settings.load_profile("examples")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = _place(item)
        if place.startswith(_LIVE) and not place.startswith(_NOT_LIVE):
            item.add_marker(pytest.mark.live)
        if place.startswith(_LONG):
            item.add_marker(pytest.mark.long)
    items.sort(key=_turn)


def _place(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


def _turn(item: pytest.Item) -> tuple[int, bool]:
    """What items are sorted by; those of a file stay together, in their order."""
    dear = next((turn for turn, start in enumerate(_DEAR) if _place(item).startswith(start)), len(_DEAR))
    return dear, item.get_closest_marker("live") is None


@pytest.fixture(scope="session")
def scenes() -> Path:
    """The folder of SimplerEnv's scenes; skips where they are not on this machine."""
    from stvla_ros.errors import InputError
    from stvla_ros.sim.maniskill.assets import find_assets

    try:
        return find_assets(download=False)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bfloat16_attention() -> None:
    """Skips where torch's own attention cannot take bfloat16: held to AVX2 on a processor with AMX, it fails."""
    import torch

    some = torch.zeros(1, 2, 64, 16, dtype=torch.bfloat16)
    try:
        torch.nn.functional.scaled_dot_product_attention(some, some, some)
    except RuntimeError as error:
        if "pack_vnni2 is only supported when avx512 is supported" not in str(error):
            raise
        pytest.skip(f"torch's attention in bfloat16: {str(error).splitlines()[0]}")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """``with installed(modules, entry_points, name) as folder:`` a package is installed, for this process and for those
    that it starts.

    modules: text of each, by name. entry_points: values by name, by group without the prefix ``stvla_ros.``.
    """
    from stvla_ros import plugins

    @contextmanager
    def install(
        modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]], name: str = "added"
    ) -> Iterator[Path]:
        folder = tmp_path / f"{name}_installed"
        write_package(folder, name, modules, entry_points)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(folder))
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
            plugins._scan.cache_clear()
            yield folder
        plugins._scan.cache_clear()
        for module in modules:
            sys.modules.pop(module, None)

    return install


@pytest.fixture(autouse=True)
def usual_priority() -> Iterator[None]:
    """No test leaves a thread of this process with a realtime priority: all nodes that later tests start might inherit
    it, and threads of a library that spin with it stop the machine.
    """
    yield
    assert not _realtime_threads(), "the test left threads with a realtime priority"


def _realtime_threads() -> list[str]:
    realtime: list[str] = []
    for thread in Path("/proc/self/task").iterdir():
        # It may end meanwhile.
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getscheduler(int(thread.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                realtime.append(thread.name)
    return realtime
