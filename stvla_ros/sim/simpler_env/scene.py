"""Upstream's scenes, with options that its prepackaged configuration does not offer. Imports the simulator."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from mani_skill2_real2sim import ASSET_DIR
from mani_skill2_real2sim.envs.custom_scenes.base_env import CustomSceneEnv

from stvla_ros.sim.simpler_env.controller_commands import scaled_intrinsics
from stvla_ros.sim.simpler_env.placements import Episode

_RECOLOURINGS = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)


@dataclass(frozen=True)
class SceneOptions:
    """:param camera: name of the only camera that is rendered. :param image_size: (width, height) in pixels, None for
    its own.
    """

    camera: str
    image_size: tuple[int, int] | None = None


def configured_scene(scene: type[CustomSceneEnv], options: SceneOptions) -> type[CustomSceneEnv]:
    """A subclass of an upstream scene that renders one camera in any size, ray-traces only on a GPU, follows the
    `Episode` in its attribute ``episode``, and raises FileNotFoundError for files that upstream would miss silently.
    """

    class ConfiguredScene(scene):
        episode = Episode()

        def _setup_prepackaged_env_init_config(self) -> dict[str, Any]:
            config = super()._setup_prepackaged_env_init_config()
            # Ray tracing on a CPU takes minutes a frame.
            if config.get("shader_dir") == "rt" and not any(Path("/dev").glob("nvidia[0-9]*")):
                config["shader_dir"] = "ibl"
            return config

        def _configure_cameras(self) -> None:
            super()._configure_cameras()
            config = self._camera_cfgs[options.camera]
            if options.image_size is not None:
                width, height = options.image_size
                config.intrinsic = scaled_intrinsics(config.intrinsic, width / config.width, height / config.height)
                config.width, config.height = width, height
            # Upstream renders and reads back a second picture that is not used here.
            self._camera_cfgs = {options.camera: config}

        def _additional_prepackaged_config_reset(self, reset_options: dict[str, Any]) -> bool:
            stand = self.episode.stand
            if stand is None:
                return super()._additional_prepackaged_config_reset(reset_options)
            if self.episode.drawer is not None:
                self.drawer_id = self.episode.drawer
            reset_options["robot_init_options"] = {"init_xy": stand.xy, "init_rot_quat": stand.quaternion}
            picture = cv2.imread(str(_existing(ASSET_DIR / "real_inpainting" / stand.picture)))
            self.rgb_overlay_img = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) / 255
            self.urdf_version = self._episode_rng.choice(_RECOLOURINGS)
            self._configure_agent()
            return True

        def _check_assets(self) -> None:
            super()._check_assets()
            named = {model for triplet in getattr(self, "triplets", ()) for model in triplet}
            named |= {getattr(self, f"_{role}_obj_name", None) for role in ("source", "target")} - {None}
            for model in named - set(self.model_db):
                raise FileNotFoundError(f"model {model} in {self.asset_root / self.DEFAULT_MODEL_JSON}")
            for model in self.model_ids:
                folder = self.asset_root / "models" / model
                if not any((folder / f"textured.{kind}").exists() for kind in ("obj", "dae", "glb")):
                    raise FileNotFoundError(folder / "textured.obj")
            if self.scene_name is not None and "dummy" not in self.scene_name:
                _existing(self.scene_root / "stages" / f"{self.scene_name}.glb")
            station = getattr(self, "station_name", None)
            if station is not None:
                _check_meshes(_existing(self.asset_root / f"{station}.urdf"))

    ConfiguredScene.__name__ = ConfiguredScene.__qualname__ = scene.__name__
    return ConfiguredScene


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def _check_meshes(urdf: Path) -> None:
    for mesh in ElementTree.parse(urdf).iter("mesh"):
        _existing(urdf.parent / mesh.get("filename", ""))
