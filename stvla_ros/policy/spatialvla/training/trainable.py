"""SpatialVLA for the training: the model before training, its losses, and the files written afterwards."""

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stvla_ros.errors import InputError
from stvla_ros.perception.trace_cells import CELL_NUMBERS
from stvla_ros.policy.activation_memory import peak_bytes
from stvla_ros.policy.checkpoints import read_json
from stvla_ros.policy.families import ACTIONS
from stvla_ros.policy.inputs import BESIDE
from stvla_ros.policy.samples import Augmentation, Samples
from stvla_ros.policy.spatialvla.actions.action_tokenizer import ActionTokenizer
from stvla_ros.policy.spatialvla.adapters import add_adapters, save_adapter
from stvla_ros.policy.spatialvla.checkpoint import load_model
from stvla_ros.policy.spatialvla.config import EARLIER_HEAD, HEADS, TRACE_HEAD
from stvla_ros.policy.spatialvla.earlier_head import EARLIER_S
from stvla_ros.policy.spatialvla.model import SpatialVla
from stvla_ros.policy.spatialvla.predictor import PROCESSOR_CONFIG, save_pretrained
from stvla_ros.policy.spatialvla.prompt import PromptTokenizer
from stvla_ros.policy.spatialvla.training.batch import BatchMaker, SpatialVlaBatch, SpatialVlaPreparation, WithTraces
from stvla_ros.policy.spatialvla.training.forward import Hidden, legal_scores, run_known_tokens
from stvla_ros.policy.spatialvla.training.new_actions import fit_processor, move_embeddings, smooth_embeddings
from stvla_ros.policy.spatialvla.training.options import SCENE, SpatialVlaOptions
from stvla_ros.policy.spatialvla.training.scene_loss import SceneHeads
from stvla_ros.policy.spatialvla.training.token_loss import ChunkLoss
from stvla_ros.policy.trainable import Losses, Start, Trainable

# Number of tokens in a usual instruction.
_TEXT_TOKENS = 10
# The trained model is written in bfloat16, adapters in float32.
_CHECKPOINT_BYTES, _ADAPTER_BYTES = 2, 4


class SpatialVlaTrainable(Trainable):
    """
    :param start: the training's start, see ``Start``.
    :param model: network of ``start.base``; None: it is loaded. A network on torch's meta device has no numbers: its
        memory can be counted, but it cannot be trained.
    :raises InputError: for a checkpoint that cannot be used.
    """

    tables = ("embed_tokens", "spatial_embed_tokens", "lm_head", "position_embedding.weight", "pointing", "relations")

    def __init__(self, start: Start, model: SpatialVla | None = None) -> None:
        options: SpatialVlaOptions = start.options
        self._start, self._options = start, options
        old_processor = read_json(start.base / PROCESSOR_CONFIG)
        self._processor, self._tokenizer, self._statistics = fit_processor(
            old_processor, start.actions, start.episodes, start.unnorm_key, options
        )
        if options.consensus_width:
            self._processor["decoding"] = {"consensus_width": options.consensus_width}
        self._processor.pop(EARLIER_S, None)
        if options.earlier_s:
            self._processor[EARLIER_S] = options.earlier_s
        # Adapters are small. The weights below them may have their published precision, and need not be complete.
        lora = start.lora is not None
        dtype = start.precision if lora else torch.float32
        self._model = model or load_model(start.base, start.device, dtype, lean=lora)
        self._prepare_model(ActionTokenizer.from_config(old_processor))
        shape = self._model.config
        self._prompts = PromptTokenizer.load(
            start.base, shape.image_token_id, shape.text.vocab_size, shape.num_image_tokens
        )
        camera = self._processor["intrinsic_config"]["default"]
        usual = SpatialVlaPreparation(
            shape.image_size,
            start.inputs.resize,
            tuple(np.array(camera["intrinsic"], dtype=np.float64).flatten().tolist()),
            (int(camera["width"]), int(camera["height"])),
        )
        tracking = start.inputs.perception().tracking
        self.preparation = (
            WithTraces(**vars(usual), frames=tracking.buffer, most=tracking.selection.max_traces)
            if self._traced
            else usual
        )
        modules: dict[str, nn.Module] = {"model": self._model}
        self._heads: SceneHeads | None = None
        if SCENE in start.objectives:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(start.seed)
                self._heads = SceneHeads(shape.text.hidden_size, shape.image_size).to(start.device)
            modules["heads"] = self._heads
        self.network, self.module = self._model, nn.ModuleDict(modules)
        self._loss = ChunkLoss(self._tokenizer, options, start.device)
        self.summary = "action bins fitted to the data" if options.refit_bins else "action bins as they were"
        self.summary += "" if options.refit_statistics else ", statistics as they were"
        if self._traced:
            self.summary += f", a head for traces (left out of {options.trace_dropout:.0%} of the samples)"
        if options.earlier_s:
            self.summary += f", a head for the picture of {options.earlier_s:g} s before"

    @property
    def _traced(self) -> bool:
        """Whether the traces are given beside the depth."""
        return self._start.inputs.traces == BESIDE

    def _prepare_model(self, old_tokenizer: ActionTokenizer) -> None:
        start, options, model = self._start, self._options, self._model
        if start.is_new and options.smooth_actions:
            smooth_embeddings(model, self._tokenizer, start.seed)
        elif options.refit_bins and model.device.type != "meta":
            move_embeddings(model, old_tokenizer, self._tokenizer)
        heads = [head for head, wanted in ((TRACE_HEAD, self._traced), (EARLIER_HEAD, options.earlier_s)) if wanted]
        for head in HEADS:
            if head in heads and getattr(model, head) is None:
                model.add_head(head, start.seed)
            elif head not in heads and start.lora is None:
                model.remove_head(head)
        if model.config.earlier_head and not options.earlier_s:
            # Without traces, a head for them adds nothing; the head for an earlier picture always adds something.
            raise InputError(
                f"family.options.earlier_s: expected seconds above 0 for adapters on checkpoint {start.base_name}, "
                "which was trained with an earlier picture, got 0"
            )
        if start.lora is not None:
            add_adapters(model, start.lora, start.seed, options.refit_bins, heads)
        else:
            for name, parameter in model.named_parameters():
                # Depth is an input of the policy, so its own depth network is not used (as in the published recipe).
                parameter.requires_grad_(not name.startswith("vision_zoe_model."))
        for layers in (model.language_model.model, model.vision_tower):
            layers.gradient_checkpointing = start.gradient_checkpointing
        model.train()

    def use(self, samples: Samples) -> None:
        cells = self._model.config.num_cells if self._traced else 0
        executed, seconds = self._options.decoder_inputs == "executed", self._options.earlier_s
        self._batches = BatchMaker(samples, self._prompts, self._tokenizer, self._statistics, cells, executed, seconds)

    def batch(self, indices: np.ndarray, augmentation: Augmentation | None = None) -> SpatialVlaBatch:
        return self._batches.make(indices, augmentation)

    def losses(  # type: ignore[override]  # it is given the batches that it made
        self, batch: SpatialVlaBatch, objectives: Collection[str], errors: bool = False
    ) -> Losses:
        points = self._model.points(batch.depth, batch.intrinsics)
        cells = self._dropped_out(batch.cells) if self._traced else None
        hidden, scores = self._forward(batch.pixels, points, batch.ids, batch.lengths, batch.inputs, cells)
        losses = self._loss(tuple(each.float() for each in scores), batch.offsets, batch.normalized, batch.valid)
        said, parts = {ACTIONS: losses.total}, dict(losses.parts)
        if SCENE in objectives and self._heads is not None:
            count = len(batch.ids)
            scene = self._heads(hidden, points[:count], batch.intrinsics[:count], batch.scene_points)
            said[SCENE] = sum(scene.values())
            parts |= scene
        if errors:
            parts |= self._errors(scores, batch)
        return Losses({name: loss for name, loss in said.items() if name in objectives}, parts)

    def _forward(
        self,
        pixels: torch.Tensor,
        points: torch.Tensor,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        inputs: torch.Tensor,
        cells: torch.Tensor | None,
    ) -> tuple[Hidden, tuple[torch.Tensor, ...]]:
        """See ``run_known_tokens`` and ``legal_scores``.

        :param inputs: (B, T, 3) tokens that are the decoder's inputs.
        """
        model, precision = self._model, self._start.precision
        mixed = torch.autocast(model.device.type, precision) if precision != torch.float32 else nullcontext()
        with mixed:
            hidden = run_known_tokens(model, pixels, points, ids, lengths, inputs.flatten(1), cells)
            return hidden, legal_scores(model, hidden.answers, self._tokenizer.legal_ranges)

    def _dropped_out(self, cells: torch.Tensor) -> torch.Tensor:
        """The cells with the traces of some samples removed, while training."""
        if not self._model.training:
            return cells
        kept = torch.rand(len(cells), 1, 1, 1, device=cells.device) >= self._options.trace_dropout
        return cells * kept

    def _errors(self, scores: tuple[torch.Tensor, ...], batch: SpatialVlaBatch) -> dict[str, torch.Tensor]:
        """The distance of the best first action from the right one."""
        ranges = self._tokenizer.legal_ranges
        best = torch.stack([each[:, 0].argmax(dim=-1) + first for each, (first, _) in zip(scores, ranges)], dim=-1)
        said = self._statistics.unnormalize(self._tokenizer.decode(best.cpu().numpy()))
        right = self._statistics.unnormalize(batch.normalized[:, 0].double().cpu().numpy())
        distance = np.linalg.norm(said[:, :3] - right[:, :3], axis=1)
        return {
            "translation_error_mm": torch.tensor(1000.0 * distance.mean()),
            "gripper_accuracy": torch.tensor(np.mean((said[:, 6] > 0.5) == (right[:, 6] > 0.5))),
        }

    def activation_bytes(self, batch_size: int) -> int:
        """Counted, not estimated: the largest memory that a loss and its gradients need at once."""
        return peak_bytes(lambda: self._usual_loss(batch_size), self.module)

    def _usual_loss(self, batch_size: int) -> torch.Tensor:
        """The loss of samples without content, with instructions of usual length."""
        shape, device = self._model.config, self._model.device
        pictures, side, actions = shape.num_image_tokens, shape.image_size, self._tokenizer.chunk_size

        def zeros(*sizes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(batch_size, *sizes, dtype=dtype, device=device)

        tokens = zeros(actions, 3, dtype=torch.int64) + torch.tensor(self._tokenizer.legal_ranges)[:, 0].to(device)
        batch = SpatialVlaBatch(
            pixels=zeros(3, side, side).repeat(shape.num_pictures, 1, 1, 1),
            depth=zeros(side, side).repeat(shape.num_pictures, 1, 1),
            intrinsics=torch.eye(3, device=device).expand(shape.num_pictures * batch_size, 3, 3),
            ids=zeros(pictures + _TEXT_TOKENS, dtype=torch.int64),
            lengths=zeros(dtype=torch.int64) + pictures + _TEXT_TOKENS,
            inputs=tokens,
            offsets=tokens,
            normalized=zeros(actions, 7),
            valid=zeros(actions, dtype=torch.bool),
            scene_points=zeros(3, 3),
            cells=zeros(*(2 * [shape.num_cells if self._traced else 0]), CELL_NUMBERS),
        )
        return sum(self.losses(batch, self._start.objectives).objectives.values())

    def result_bytes(self) -> int:
        if self._start.lora is None:
            return _CHECKPOINT_BYTES * sum(tensor.numel() for tensor in self._model.state_dict().values())
        trained = sum(p.numel() * _ADAPTER_BYTES for p in self._model.parameters() if p.requires_grad)
        # New bins change the action tokens' rows of the head, which are then saved with the adapter.
        return trained + (self._model.spatial_embed_tokens.weight.nbytes if self._options.refit_bins else 0)

    def save(self, folder: Path) -> None:
        if self._start.lora is None:
            model = self._model.to(torch.bfloat16)
            save_pretrained(folder, model, self._prompts, self._processor)
        else:
            save_adapter(self._model, folder, self._start.base_name, self._processor)
