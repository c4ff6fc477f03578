"""The latent action model after Farsighted-LAM (arXiv 2509.26251): a clip in, a few codes for each keyframe, from which
a decoder that sees the current frame alone rebuilds the keyframe in colour and depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from stvla_ros.policy.ssm_vla.config import LamConfig
from stvla_ros.policy.ssm_vla.lam.blocks import initialise
from stvla_ros.policy.ssm_vla.lam.clip_encoder import ClipEncoder
from stvla_ros.policy.ssm_vla.lam.frame_decoder import FrameDecoder, Rebuilt
from stvla_ros.policy.ssm_vla.lam.quantiser import Codebook, NoCodebook, Quantised
from stvla_ros.policy.ssm_vla.lam.seen_scene import Scene
from stvla_ros.policy.ssm_vla.lam.tokens import FrameTokens, FrozenEncoder


@dataclass(frozen=True)
class Clip:
    """B clips of F = T + 1 frames.

    :param frames: B F pictures of S x S, a clip's one after the other: the current frame, then the keyframes.
    :param valid: (B, T) bool, which keyframes there are. What stands in the others' place has no effect.
    """

    frames: Scene
    valid: torch.Tensor

    def frame(self, number: int) -> Scene:
        """Of every clip the current frame (0) or a keyframe (1 … T)."""
        step = self.valid.shape[1] + 1
        frames = self.frames
        return Scene(frames.rgb[number::step], frames.depth[number::step], frames.intrinsics[number::step])

    def resized(self, size: int) -> "Clip":
        """Of another side."""
        return Clip(self.frames.resized(size), self.valid)


class LatentActionModel(nn.Module):
    """
    :param config: its shape.
    :param frozen: picture encoder of another network, see ``load_frozen``; None for a stem.
    """

    def __init__(self, config: LamConfig, frozen: FrozenEncoder | None = None) -> None:
        super().__init__()
        self.config = config
        self.frame_size = config.picture_size if frozen is None else frozen.picture_size
        """Side of the pictures that it is best shown; those that it rebuilds have ``config.picture_size``."""
        self.tokens = FrameTokens(
            config.picture_size,
            config.patch,
            config.encoder_width,
            has_stem=config.encoder == "stem",
            sees_depth=config.sees_depth,
            frozen=frozen,
        )
        self.encoder = ClipEncoder(config)
        self.quantiser: Codebook | NoCodebook = Codebook(config) if config.quantiser == "vq" else NoCodebook(config)
        self.decoder = FrameDecoder(
            config.picture_size,
            config.patch,
            config.width,
            config.heads,
            config.decoder_layers,
            config.queries,
            config.code_width,
            len(config.keyframes_s),
            config.rebuilds_depth,
        )
        initialise(self)
        self.decoder.start_still()

    def encode(self, clip: Clip) -> Quantised:
        """The latent action of each keyframe."""
        batch, keyframes = clip.valid.shape
        tokens = self.tokens(clip.frames).unflatten(0, (batch, keyframes + 1))
        return self.quantiser(self.encoder(tokens, clip.valid), clip.valid)

    def decode(self, now: Scene, codes: torch.Tensor) -> Rebuilt:
        """What the codes (B, T, Q, C) make of B current frames: of their own clip, or of another scene."""
        return self.decoder(now.resized(self.config.picture_size), codes)

    def look_up(self, ids: torch.Tensor) -> torch.Tensor:
        """Codes of ids, (B, T, Q) int64 to (B, T, Q, C). Only with a codebook."""
        if not isinstance(self.quantiser, Codebook):
            raise ValueError("expected a codebook, the model has none")
        return self.quantiser.vectors[ids]

    def counts(self) -> dict[str, int]:
        """Parameters as the published ones are counted: the encoder's entrance and blocks; and the decoder's with the
        head for colours.
        """
        parts: dict[str, Sequence[nn.Module]] = {
            "encoder": (self.encoder.entrance, self.encoder.blocks),
            "decoder": (self.decoder.entrance, self.decoder.blocks, self.decoder.rgb_change),
        }
        return {name: sum(p.numel() for part in of for p in part.parameters()) for name, of in parts.items()}
