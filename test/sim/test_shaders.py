"""Shaders without reflections show what SAPIEN's own show."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stvla_ros.sim.maniskill import preparation
from stvla_ros.sim.maniskill.shaders import write_shaders
from stvla_ros.sim.tasks import make_environment


def pictures(task: str) -> list[np.ndarray]:
    """Colours and depth of two placements."""
    with contextlib.closing(make_environment(task)) as environment:
        seen = [environment.reset(episode) for episode in (0, 5)]
        return [part for observation in seen for part in (observation.rgb, observation.depth)]


def test_the_installed_shaders_are_known_and_lose_their_table_alone(tmp_path: Path) -> None:
    import sapien

    written = write_shaders(tmp_path)
    assert written is not None
    installed = Path(sapien.__file__).parent / "vulkan_shader" / "minimal"
    changed = []
    for file in installed.iterdir():
        old, new = (folder.joinpath(file.name).read_text().splitlines() for folder in (installed, written))
        changed += [line for line in old if line not in new]
        assert len(old) - len(new) in (0, 1)
    assert len(changed) == 3
    assert all("samplerBRDFLUT" in line for line in changed)


def test_cameras_get_them_and_other_environments_of_the_process_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import mani_skill.sensors.camera as cameras
    import sapien

    told: list[str] = []
    before, tell = cameras.set_shader_pack, sapien.render.set_camera_shader_dir
    monkeypatch.setattr(sapien.render, "set_camera_shader_dir", lambda name: (told.append(name), tell(name)))
    make_environment("panda_pick_cube", image_size=(64, 64)).close()
    assert told[0] == "minimal" and told[-1].startswith("/"), "after ManiSkill's own choice"
    assert cameras.set_shader_pack is before


@pytest.mark.slow
@pytest.mark.parametrize("task", ["panda_pick_cube", "stack_cube", "carrot_on_plate", "tap_both"])
def test_pictures_are_the_same_bit_for_bit(task: str, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = pictures(task)
    own: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    monkeypatch.setattr(preparation, "without_reflections", own)
    for mine, theirs in zip(without, pictures(task), strict=True):
        np.testing.assert_array_equal(mine, theirs)
