"""From pictures to the encoder's tokens: a stem that is trained along, or a frozen picture encoder; and where things
lie, as every choice is told it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoint_places import find_checkpoint
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.families import family_of
from stvla_ros.policy.ssm_vla.config import LamConfig
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene, inverse_depth, patch_centres, patched
from stvla_ros.policy.stored_weights import fingerprint

# ImageNet's, which DINOv2's pictures were scaled by.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CENTRE = 4


@dataclass(frozen=True)
class FrozenEncoder:
    """A picture encoder that is not trained.

    :param see: function from N pictures of ``picture_size`` to (N, P, width) float32.
    :param picture_size: side of its pictures, pixels.
    :param width: numbers of a token.
    :param fingerprint: fingerprint of its weights.
    """

    see: Callable[[Scene], torch.Tensor]
    picture_size: int
    width: int
    fingerprint: str


class FrameTokens(nn.Module):
    """A token for each patch of a picture. Depth adds inverse depth and back-projected centre of the patch.

    :param picture_size: side of the pictures, pixels.
    :param patch: side of a patch, pixels.
    :param width: width of the tokens.
    :param has_stem: whether a linear layer makes the tokens; if not, a frozen encoder does.
    :param sees_depth: whether depth is seen.
    :param frozen: the picture encoder; None for a stem. It is no part of the module: its weights are not stored again.
    """

    def __init__(
        self,
        picture_size: int,
        patch: int,
        width: int,
        has_stem: bool,
        sees_depth: bool,
        frozen: FrozenEncoder | None = None,
    ) -> None:
        super().__init__()
        self._size, self._patch, self._frozen = picture_size, patch, frozen
        self.stem = nn.Linear(3 * patch**2, width) if has_stem else None
        self.places = nn.Linear(patch**2 + _CENTRE, width) if sees_depth else None

    def forward(self, scene: Scene) -> torch.Tensor:
        """
        :param scene: N pictures of any size; best of the frozen encoder's, or of the model's.
        :returns: (N, P, width).
        """
        small = scene.resized(self._size)
        if self.stem is not None:
            tokens = self.stem(patched(2.0 * small.rgb - 1.0, self._patch))
        elif self._frozen is not None:
            with torch.no_grad():
                tokens = self._frozen.see(scene.resized(self._frozen.picture_size)).float()
        else:
            raise ValueError("expected the frozen picture encoder, the model was made without it")
        if self.places is not None:
            near = patched(inverse_depth(small.depth)[:, None], self._patch)
            centres = patch_centres(small.depth, small.intrinsics, self._patch)
            tokens = tokens + self.places(torch.cat([near, centres], dim=-1))
        return tokens


def load_frozen(config: LamConfig, device: torch.device) -> FrozenEncoder | None:
    """
    :returns: None for a stem.
    :raises InputError: when it cannot be had, or its weights or its patches are others than the model's.
    """
    if config.encoder == "stem":
        return None
    folder = find_checkpoint(config.encoder_checkpoint)
    found = fingerprint(folder)
    if config.encoder_fingerprint and found != config.encoder_fingerprint:
        raise InputError(
            f"encoder_checkpoint {folder}: expected the weights that the latent action model was trained on, they are "
            "others"
        )
    if config.encoder == "small":
        encoder = family_of(folder).picture_encoder(folder, device)
        made = FrozenEncoder(
            lambda scene: encoder(scene.rgb, scene.depth, scene.intrinsics), encoder.picture_size, encoder.width, found
        )
        patch = encoder.patch
    else:
        network = _dino(folder).to(device)
        skipped = 1 + getattr(network.config, "num_register_tokens", 0)
        mean, deviation = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (_MEAN, _DEVIATION))

        def see(scene: Scene) -> torch.Tensor:
            return network((scene.rgb - mean) / deviation).last_hidden_state[:, skipped:]

        patch = network.config.patch_size
        size = config.picture_size // config.patch * patch
        made = FrozenEncoder(see, size, network.config.hidden_size, found)
    if (patches := (made.picture_size // patch) ** 2) != config.patches:
        raise InputError(
            f"encoder_checkpoint {folder}: expected {config.patches} patches a picture, as the model has, it "
            f"has {patches}"
        )
    return made


def _dino(folder: Path) -> nn.Module:
    """A DINOv2 of `transformers`' layout. :raises InputError: for another model, or weights that cannot be read."""
    from transformers import Dinov2Model, Dinov2WithRegistersModel

    kinds = {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel}
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in kinds:
        raise InputError(f"encoder_checkpoint {folder}: expected model_type {' or '.join(kinds)}, got {kind!r}")
    try:
        network = kinds[kind].from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except Exception as error:  # `transformers` raises many unrelated types
        raise InputError(f"encoder_checkpoint {folder}: expected a DINOv2 ({error})") from error
    return network.eval().requires_grad_(False)
