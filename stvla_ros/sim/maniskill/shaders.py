"""SAPIEN's shaders for cameras without reflections of an environment, which no scene of ours has.

They look reflections up in a table of integrals. SAPIEN computes it before an environment's first picture. Without a
GPU that takes 12 seconds of processor time, seven eighths of what it takes to make an environment. What is looked up is
multiplied by the environment's light, which is zero: without the table the pictures are the same, bit for bit.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TABLE = "samplerBRDFLUT"
_LOOKED_UP = f"texture({_TABLE}, vec2(roughness, dotNV)).xy"
# ManiSkill's name of the shaders of all cameras that the policies see.
_PACK = "minimal"


def write_shaders(folder: Path) -> Path | None:
    """
    :param folder: a folder for them and for the files that they include.
    :returns: folder of the shaders; None where those of the installed SAPIEN look otherwise.
    """
    import sapien

    installed = Path(sapien.__file__).parent / "vulkan_shader"
    if not (installed / _PACK).is_dir():
        return None
    for name in (_PACK, "common"):
        shutil.copytree(installed / name, folder / name)
    for file in (folder / _PACK).iterdir():
        text = file.read_text(encoding="utf-8").replace(_LOOKED_UP, "vec2(0.0)")
        text = "\n".join(line for line in text.splitlines() if not line.endswith(f"uniform sampler2D {_TABLE};"))
        if _TABLE in text:
            return None
        file.write_text(text + "\n", encoding="utf-8")
    return folder / _PACK


@contextmanager
def without_reflections() -> Iterator[None]:
    """ManiSkill's environments that are made inside have these shaders."""
    import mani_skill.sensors.camera as cameras
    import sapien

    chosen = cameras.set_shader_pack
    with tempfile.TemporaryDirectory(prefix="stvla_shaders_") as folder:
        shaders = write_shaders(Path(folder))

        def choose(config: cameras.ShaderConfig) -> None:
            # The pack's name also tells ManiSkill the formats of its pictures.
            chosen(config)
            if shaders and config.shader_pack == _PACK:
                sapien.render.set_camera_shader_dir(str(shaders))

        cameras.set_shader_pack = choose
        try:
            yield
        finally:
            cameras.set_shader_pack = chosen
