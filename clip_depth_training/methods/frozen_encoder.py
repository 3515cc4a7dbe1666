"""What all methods share that train a depth head on a frozen encoder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder, check_tensors
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput
from clip_depth_training.methods.base import Method, Provenance

_ANY_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class HeadOnFrozenEncoder(Method):
    """A head that learns on an encoder that does not.

    Attributes:
        encoder: the frozen encoder.
        head: what is trained and exported; a subclass sets it.
    """

    head: DepthHead

    def __init__(self, encoder: str, pretrained: str) -> None:
        """Opens the encoder; see :func:`open_encoder`.

        Raises:
            BadInput: it cannot be had.
        """
        super().__init__()
        self.encoder = open_encoder(encoder, pretrained)
        self._identity = self.encoder.identity()
        self.preprocess = Preprocess(self.encoder.config)

    @property
    def frozen_identity(self) -> str:
        """The encoder's identity, as it was read."""
        return self._identity

    @property
    def trained(self) -> nn.Module:
        """The head."""
        return self.head

    def train(self, mode: bool = True) -> HeadOnFrozenEncoder:
        """Sets the head's mode; the frozen encoder stays in evaluation."""
        super().train(mode)
        self.encoder.eval()
        return self

    def compute_frozen_in(self, dtype: torch.dtype) -> None:
        """Has the encoder hold and compute its numbers as ``dtype``."""
        self.encoder.to(dtype)

    def go_on_from(self, file: Path, own: tuple[str, ...] = ()) -> None:
        """Starts from a trained head instead of random weights.

        The encoder may be another one than that head was trained on, of the same sizes: training adapts the head.

        Args:
            file: a head of this method, as ``export`` and ``clip-depth import`` write it.
            own: tensors that stay as this head has them.

        Raises:
            BadInput: no weight file, or one of another method, of other sizes or of other hidden states.
        """
        before = load_checkpoint(file)
        known, here = before.metadata, self.head.state_dict()
        if known.method != self.head.method:
            raise BadInput(
                f"network.start_from is {file}, whose method is {known.method}: give a head of {self.head.method}."
            )
        check_tensors(before.head, here, f"network.start_from, {file}, does not fit the recipe's head")
        layers = before.build_head().layers
        if layers != self.head.layers:
            raise BadInput(
                f"network.start_from, {file}, reads the hidden states {list(layers)}, the recipe's head "
                f"{list(self.head.layers)}: make them equal."
            )
        self.head.load_state_dict({**before.head, **{name: here[name] for name in own}})
        self.remember_start(f"head {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}", known.trained_on)

    def export(self, output: Path, provenance: Provenance) -> list[Path]:
        """Writes the head as ``<method>.safetensors``; the encoder stays the file it was."""
        metadata = CheckpointMetadata(
            method=self.head.method,
            encoder=self.encoder.config,
            encoder_identity=self.encoder.identity(),
            trained_on=provenance.trained_on + self.looked_at,
            training_intrinsics=provenance.training_intrinsics,
            canonical_focal_px=self.canonical_focal_px,
            metrics=provenance.metrics,
            licence=provenance.licence,
            source=f"clip_depth_training recipe {provenance.recipe}",
        )
        files = [output / f"{self.head.method}.safetensors"]
        save_checkpoint(files[0], metadata, head=self.head)
        return files

    @property
    def looked_at(self) -> str:
        """A sentence for the card, after a space, on what of the pictures was looked at; empty for all."""
        return ""

    def encode(self, pixels: Tensor) -> EncoderFeatures:
        """Runs the encoder as far as the head reads it, without a graph, in its own type.

        Args:
            pixels: ``(B, 3, h, w)`` of :attr:`preprocess`.
        """
        layers, pooled = self.head.layers, self.head.needs_pooled
        if self.encoder.dtype == torch.float32:
            return self.encoder(pixels, layers, pooled=pooled)
        # Weights of 16 bits need no casting; the fused attention, which only a graph makes slow, is faster then.
        with torch.autocast(pixels.device.type, enabled=False), sdpa_kernel(_ANY_ATTENTION):
            return self.encoder(pixels.to(self.encoder.dtype), layers, pooled=pooled)


def open_encoder(source: str, pretrained: str = "") -> SharedEncoder:
    """Returns a frozen encoder: a file of this project, or a model of open_clip.

    Raises:
        BadInput: no such file or model, or weights that do not fit.
    """
    if not source.endswith(".safetensors"):
        return SharedEncoder.from_open_clip(source, pretrained)
    encoder = load_checkpoint(Path(source)).build_encoder()
    if encoder is None:
        raise BadInput(f"{source} holds no encoder: give the file that does, as `clip-depth info` shows.")
    return encoder.float()
