"""A small CLIP from pictures and their captions, with a dense depth loss beside the contrastive one.

The contrastive part is open_clip's model and loss. The dense part is a probe on the patch tokens that predicts the
depth of each patch: what the tokens must know for a depth head to read it from the frozen tower later. The probe is
thrown away; the tower is what the node loads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.depth.towers import ClipTower
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.distributed import all_sum
from clip_depth_training.methods.base import Method, Provenance, known_weights
from clip_depth_training.methods.text import TextTower, load_training_parts, save_training_parts

_AFTER_THE_STEM = ("transformer.", "ln_post.", "proj")
_TYPICAL_DEPTH = 2.0  # metres; what the probe says before it has learnt anything


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of the two towers and weights of the two losses.

    Attributes:
        encoder_name: name of the image tower that comes out.
        image_size: image tower's input (pixels, square).
        width: channels of the image tower; its heads have 64 channels each.
        layers: blocks of the image tower; 12, so that the published layer numbers apply.
        patch_size: pixels of a patch.
        mlp_ratio: hidden width of a block's MLP, in widths.
        layer_scale: first value of the learnt factors on what blocks add; 0: no such factors, as in CLIP.
        stem: ``convolutional`` for early convolutions instead of the patch projection; empty: CLIP's own.
        embed_dim: width of the joint embedding.
        text_width: channels of the text tower; its heads have 64 channels each.
        text_layers: blocks of the text tower.
        context_length: tokens of a caption.
        contrastive_weight: weight of the contrastive loss; 0 trains for depth alone.
        dense_weight: weight of the dense depth loss; 0 trains for words alone.
        dense_layers: hidden states the probe reads.
        dense_hidden: hidden width of the probe.
        dense_cells: depth values the probe predicts along a side of a patch.
        valid_range: (nearest, farthest) metres that count.
        canonical_focal_px: focal length in encoder-input pixels that the probe's depth is for.
        start_from: folder with ``encoder.safetensors`` (and ``clip_training.safetensors``, where there is one) to go
            on from; empty for random weights.
        stem_from: folder with an ``encoder.safetensors`` that what comes before the blocks is taken from, such as early
            convolutions that have learnt more since; empty: all of it is that of ``start_from``.
    """

    encoder_name: str
    image_size: int = 128
    width: int = 192
    layers: int = 12
    patch_size: int = 16
    mlp_ratio: float = 4.0
    layer_scale: float = 0.0
    stem: str = ""
    embed_dim: int = 192
    text_width: int = 128
    text_layers: int = 3
    context_length: int = 64
    contrastive_weight: float = 1.0
    dense_weight: float = 1.0
    dense_layers: tuple[int, ...] = (3, 6, 9, 12)
    dense_hidden: int = 256
    dense_cells: int = 8
    valid_range: tuple[float, float] = (0.1, 10.0)
    canonical_focal_px: float = 128.0
    start_from: str = ""
    stem_from: str = ""

    def __post_init__(self) -> None:
        if self.contrastive_weight <= 0 and self.dense_weight <= 0:
            raise BadInput(f"{self.encoder_name}: contrastive_weight and dense_weight are both 0: nothing to train.")
        if self.stem_from and not self.start_from:
            raise BadInput(f"{self.encoder_name}: stem_from needs start_from, for all but the stem.")
        if self.patch_size % self.dense_cells:
            raise BadInput(f"{self.encoder_name}: dense_cells must divide patch_size {self.patch_size}.")

    def encoder_config(self) -> EncoderConfig:
        """Returns the image tower's architecture in open_clip's terms."""
        vision: dict[str, Any] = {
            "image_size": self.image_size,
            "layers": self.layers,
            "width": self.width,
            "head_width": min(64, self.width),
            "patch_size": self.patch_size,
        }
        own = {"mlp_ratio": (self.mlp_ratio, 4.0), "ls_init_value": (self.layer_scale, 0.0), "stem": (self.stem, "")}
        vision |= {key: value for key, (value, usual) in own.items() if value != usual}
        return EncoderConfig(name=self.encoder_name, vision=vision, embed_dim=self.embed_dim)


class DenseProbe(nn.Module):
    """Reads depth from patch tokens: normalise the hidden states, concatenate, two linear layers, unfold."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.cells = config.dense_cells
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in config.dense_layers)
        self.layers = config.dense_layers
        inputs = config.width * len(config.dense_layers)
        self.hidden = nn.Linear(inputs, config.dense_hidden)
        self.output = nn.Linear(config.dense_hidden, config.dense_cells**2)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: EncoderFeatures) -> Tensor:
        """Returns the logarithm of depth ``(B, rows * cells, columns * cells)``, float32."""
        tokens = [norm(features.hidden[layer]) for norm, layer in zip(self.norms, self.layers)]
        values = self.output(F.gelu(self.hidden(torch.cat(tokens, dim=-1)[:, features.prefix_tokens :])))
        folded = values.float().transpose(1, 2).unflatten(2, features.grid)
        return F.pixel_shuffle(folded, self.cells)[:, 0] + torch.log(torch.tensor(_TYPICAL_DEPTH))


class ClipMethod(Method):
    """Contrastive image-text training with a dense depth loss."""

    config_class: ClassVar[type] = ClipConfig

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SharedEncoder(config.encoder_config())
        self.encoder.requires_grad_(True)
        self.text = TextTower(config.embed_dim, config.text_width, config.text_layers, config.context_length)
        self.probe = DenseProbe(config)
        self.preprocess = Preprocess(self.encoder.config)
        self.valid_range = config.valid_range
        self.canonical_focal_px = config.canonical_focal_px
        visual = self.encoder.visual
        for weight, parts in (
            (config.contrastive_weight, (self.text, visual.get_parameter("proj"), visual.get_submodule("ln_post"))),
            (config.dense_weight, (self.probe,)),
        ):
            for part in parts if weight <= 0 else ():
                part.requires_grad_(False)
        if config.start_from:
            self._start_from(Path(config.start_from))

    @property
    def trained(self) -> nn.Module:
        """Everything: both towers and the probe."""
        return self

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the contrastive loss, the dense one and their weighted sum.

        Raises:
            BadInput: the contrastive loss is wanted and the data set has no captions.
        """
        config = self.config
        contrastive = config.contrastive_weight > 0
        if contrastive and not batch.captions:
            raise BadInput("The training data has no captions: render it anew, or set contrastive_weight to 0.")
        features = self._encode(batch.images)
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=batch.images.device)
        if config.dense_weight > 0:
            parts["dense"] = self._dense_loss(features, batch)
            total = total + config.dense_weight * parts["dense"]
        if contrastive:
            assert features.embedding is not None
            parts["contrastive"] = self.text.contrastive_loss(features.embedding, batch.captions)
            total = total + config.contrastive_weight * parts["contrastive"]
        return {"loss": total, **parts}

    @torch.no_grad()
    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """Returns how often a picture's own caption is the nearest in the batch (chance is 1 / B)."""
        if not batch.captions or self.config.contrastive_weight <= 0:
            return {}
        embedding = self._encode(batch.images).embedding
        assert embedding is not None
        return {"retrieval": self.text.retrieval(embedding, batch.captions)}

    @torch.no_grad()
    def predict(self, images: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns the probe's depth; see :meth:`Method.predict`."""
        logarithm = self.probe(self._encode(images))
        enlarged = F.interpolate(logarithm[:, None], output_size, mode="bilinear", align_corners=False)[:, 0]
        return enlarged.exp()

    def export(self, output: Path, provenance: Provenance) -> list[Path]:
        """Writes ``encoder.safetensors``, which the node loads, and ``clip_training.safetensors`` to go on from."""
        metadata = CheckpointMetadata(
            method=ENCODER_ONLY,
            encoder=self.encoder.config,
            trained_on=provenance.trained_on,
            training_intrinsics=provenance.training_intrinsics,
            metrics=provenance.metrics,
            licence=provenance.licence,
            source=f"clip_depth_training recipe {provenance.recipe}",
        )
        tower = self.encoder.tower
        if self.config.contrastive_weight <= 0 and isinstance(tower, ClipTower):
            tower.has_projection = False  # nothing trained it, so it is left out rather than shipped as noise
        files = [output / "encoder.safetensors", output / "clip_training.safetensors"]
        save_checkpoint(files[0], metadata, encoder=self.encoder)
        save_training_parts(files[1], self.text, self.probe, asdict(self.config))
        return files

    def _encode(self, images: Tensor) -> EncoderFeatures:
        words = self.config.contrastive_weight > 0
        return self.encoder.encode(self.preprocess(images), self.config.dense_layers, pooled=words)

    def _dense_loss(self, features: EncoderFeatures, batch: Batch) -> Tensor:
        """Returns the mean absolute error of log depth at the probe's cells, over all processes."""
        logarithm = self.probe(features)
        rows, columns = logarithm.shape[1:]
        truth = F.interpolate(batch.depth[:, None], (rows, columns), mode="nearest-exact")[:, 0]
        mask = valid_pixels(truth, self.valid_range)
        target = torch.log((truth / self.zoom(batch)).clamp_min(1e-6))
        error = torch.where(mask, (logarithm - target).abs(), 0.0)
        total, count = all_sum(error.sum(), mask.sum().to(error.dtype))
        return total / count.clamp_min(1)

    def _start_from(self, folder: Path) -> None:
        before = load_checkpoint(folder / "encoder.safetensors")
        known = before.metadata
        self.remember_start(f"encoder {known.encoder_identity[:12]}", known.trained_on)
        tensors = dict(before.encoder)
        tensors.setdefault("proj", self.encoder.visual.get_parameter("proj").detach())
        if self.config.stem_from:
            tensors |= self._stem_from(Path(self.config.stem_from))
        self.encoder.load_vision({name: value.float() for name, value in tensors.items()}, str(folder))
        if (folder / "clip_training.safetensors").is_file():
            load_training_parts(folder / "clip_training.safetensors", self.text, self.probe)

    def _stem_from(self, folder: Path) -> dict[str, Tensor]:
        """Returns what comes before the blocks in another encoder, and notes it for the card."""
        other = load_checkpoint(folder / "encoder.safetensors")
        name = f"encoder {other.metadata.encoder_identity[:12]}"
        self.started_from += f" with the stem of the {name}"
        self.history += f" {known_weights(name, other.metadata.trained_on)}"
        return {key: value for key, value in other.encoder.items() if not key.startswith(_AFTER_THE_STEM)}
