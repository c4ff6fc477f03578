"""What a SpatialVLA training can be told: its losses, and the layers that take adapters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossConfig:
    """
    :param smoothing: 0: the action's own token is the only right answer; else tokens count by their distance to the
        action, exp(-d^2 / 2 smoothing^2), in units of the normalised action.
    :param gripper_weight: of the gripper's token against the other two.
    :param scene_weight: of the auxiliary loss: where object, goal and gripper are; 0 without (needs
        privileged.scene_points in the data).
    """

    smoothing: float = 0.0
    gripper_weight: float = 1.0
    scene_weight: float = 0.0


# Full names, anchored by their parts: ZoeDepth's layers have the same last names. They fit the published module
# names (vision_tower.vision_model.…) too, so that the published code reads an adapter_config.json with them.
TARGET_MODULES = (
    r"(language_model\.model|vision_tower|multi_modal_projector|position_embedding_3d)\.(.+\.)?"
    r"([qkvo]_proj|out_proj|gate_proj|up_proj|down_proj|fc1|fc2|linear|position_embedding_head\.[03])"
)
