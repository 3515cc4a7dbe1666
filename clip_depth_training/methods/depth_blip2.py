"""DepthBLIP-2: few pictures teach its distances; its Q-Former, from BLIP-2 or from nothing, may learn too."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.checkpoint import Checkpoint, load_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder, check_tensors
from clip_depth_ros.depth.heads.depth_blip2 import DepthBlip2Head, flip_averaged
from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.distributed import all_sum
from clip_depth_training.methods.depth_blip2_config import DepthBlip2MethodConfig
from clip_depth_training.methods.frozen_encoder import HeadOnFrozenEncoder


class DepthBlip2Method(HeadOnFrozenEncoder):
    """DepthBLIP-2's head, loss and file."""

    config_class: ClassVar[type] = DepthBlip2MethodConfig
    head: DepthBlip2Head

    def __init__(self, config: DepthBlip2MethodConfig) -> None:
        super().__init__(config.encoder, config.pretrained)
        self.config = config
        file = open_qformer(Path(config.qformer), self.encoder, self._identity) if config.qformer else None
        head_config = config.head_config(self.encoder, file)
        if head_config.layer not in self.encoder.tower.layers:
            raise BadInput(f"network.layer is {head_config.layer}, but the encoder has 0 to {self.encoder.depth}.")
        self.head = DepthBlip2Head(head_config)
        if file is not None:
            self._take_qformer(file)
        if config.start_at_bins and config.adaptive != "fixed":
            _start_at(self.head.bins, head_config.bins)
        self.head.requires_grad_(False)
        self.trained.requires_grad_(True)
        self.valid_range = config.valid_range
        self.canonical_focal_px = config.canonical_focal_px

    @property
    def trained(self) -> nn.Module:
        """The MLP of the distances, or with ``train_qformer`` the head."""
        return self.head if self.config.train_qformer else self.head.bins

    @property
    def frozen_identity(self) -> str:
        """What names the encoder and, where it does not learn, the Q-Former."""
        if self.config.train_qformer:
            return self._identity
        digest = hashlib.sha256(self._identity.encode())
        for part in (self.head.ln_vision, self.head.qformer):
            for name, tensor in sorted(part.state_dict().items()):
                digest.update(name.encode() + tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def check_frozen(self, identity: str, source: str) -> None:
        """Checks that weights go with the frozen part they were trained on.

        Raises:
            BadInput: they were trained on another encoder or Q-Former; ``source`` is the checkpoint's name.
        """
        if identity != self.frozen_identity:
            raise BadInput(
                f"{source} was trained on another encoder or Q-Former than the recipe's are now: put the old files "
                "back, or train anew."
            )

    def train(self, mode: bool = True) -> DepthBlip2Method:
        """Sets the mode of what learns; what is frozen stays in evaluation."""
        super().train(mode)
        if not self.config.train_qformer:
            self.head.qformer.eval()
        return self

    def zoom(self, batch: Batch) -> Tensor:
        """Returns f / canonical of each picture, as the encoder sees what is looked at of it."""
        return super().zoom(self._cropped(batch))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted sum of mean absolute error and root mean squared error, and both."""
        part = self._cropped(batch)
        features = self._encode(self.preprocess(part.images))
        with nullcontext() if self.config.train_qformer else torch.no_grad():
            weights = self.head.prompt_weights(features)
        depth = self.head.depth_map(weights, self.head.distances(features), (part.depth.shape[1], part.depth.shape[2]))
        mask = valid_pixels(part.depth, self.valid_range)
        with torch.autocast(batch.images.device.type, enabled=False):
            absolute, squared = depth_errors(depth.float(), part.depth / self.zoom(batch), mask)
        total = self.config.l1_weight * absolute + self.config.rmse_weight * squared
        return {"loss": total, "l1": absolute, "rmse": squared}

    @torch.no_grad()
    def predict(self, images: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns the head's depth; see :meth:`Method.predict`. What is not looked at has the depth of its edge."""
        top, bottom, left, right = self._margins(images, output_size)
        pixels = self.preprocess(self._looked_at(images))
        size = (output_size[0] - top - bottom, output_size[1] - left - right)
        if self.config.flip_averaging:
            depth = flip_averaged(self._encode, self.head, pixels, size).depth
        else:
            depth = self.head(self._encode(pixels), size).depth
        return F.pad(depth[:, None], (left, right, top, bottom), mode="replicate")[:, 0]

    @property
    def looked_at(self) -> str:
        """The crop, for the card."""
        if self.config.crop is None:
            return ""
        left, top, right, bottom = self.config.crop
        return f" Pictures were cut to rows {top} to {bottom} and columns {left} to {right}."

    def _encode(self, pixels: Tensor) -> EncoderFeatures:
        """Encodes in the encoder's type, returns float32: a low temperature needs the Q-Former's 32 bits."""
        return self.encode(pixels).to(torch.float32)

    def _take_qformer(self, file: Checkpoint) -> None:
        """Loads the file's Q-Former and norm; an MLP in it was for other pictures."""
        tensors = {name: value for name, value in file.head.items() if not name.startswith("bins.")}
        own = {name: value for name, value in self.head.state_dict().items() if not name.startswith("bins.")}
        check_tensors(tensors, own, f"{file.path} does not hold the Q-Former that its configuration describes")
        self.head.load_state_dict(tensors, strict=False)
        self.remember_start(f"Q-Former of {file.metadata.source}", file.metadata.trained_on)

    def _looked_at(self, maps: Tensor) -> Tensor:
        """Returns the crop of pictures ``(B, H, W, 3)`` or of maps ``(B, H, W)``."""
        if self.config.crop is None:
            return maps
        left, top, right, bottom = self.config.crop
        height, width = maps.shape[1:3]
        if right > width or bottom > height:
            raise BadInput(
                f"network.crop {list(self.config.crop)} does not lie in pictures of {width}x{height}: set it for them, "
                "or leave it empty."
            )
        return maps[:, top:bottom, left:right]

    def _cropped(self, batch: Batch) -> Batch:
        return replace(batch, images=self._looked_at(batch.images), depth=self._looked_at(batch.depth))

    def _margins(self, images: Tensor, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Returns the rows and columns of the output above, below, left and right of what is looked at."""
        if self.config.crop is None:
            return 0, 0, 0, 0
        left, top, right, bottom = self.config.crop
        height, width = images.shape[1:3]
        down, across = output_size[0] / height, output_size[1] / width
        return (
            round(top * down),
            output_size[0] - round(bottom * down),
            round(left * across),
            output_size[1] - round(right * across),
        )


def depth_errors(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean absolute error and root mean squared error, metres, over the valid pixels of all processes.

    Args:
        prediction: ``(B, H, W)`` float32, metres.
        target: ``(B, H, W)`` float32, metres.
        mask: ``(B, H, W)`` bool.
    """
    difference = torch.where(mask, prediction - target, 0.0)
    absolute, squared, count = all_sum(difference.abs().sum(), difference.square().sum(), mask.sum().float())
    count = count.clamp_min(1)
    # The root's slope is infinite at 0.
    return absolute / count, (squared / count).clamp_min(1e-12).sqrt()


def open_qformer(path: Path, encoder: SharedEncoder, identity: str) -> Checkpoint:
    """Reads a DepthBLIP-2 head for its Q-Former.

    Raises:
        BadInput: it is no such file, or is for another encoder than ``encoder`` of that ``identity``.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.metadata.method != DepthBlip2Head.method:
        raise BadInput(
            f"{path} holds {checkpoint.metadata.method} and no DepthBLIP-2 head: make one with `clip-depth import "
            "blip2`."
        )
    if checkpoint.metadata.encoder_identity != identity:
        wanted = checkpoint.metadata
        raise BadInput(
            f"The Q-Former in {path} is for encoder {wanted.encoder.name} ({wanted.encoder_identity[:12]}), but the "
            f"recipe's encoder is {encoder.config.name} ({identity[:12]}): set network.encoder and pretrained to it."
        )
    return checkpoint


def _start_at(network: nn.Sequential, bins: Sequence[float]) -> None:
    """Makes the MLP give ``bins``, nearly at the two ends of the sigmoid, until it learns."""
    nearest, farthest = min(bins), max(bins)
    last = cast(nn.Linear, network[-1])
    with torch.no_grad():
        last.weight.zero_()
        for index, metres in enumerate(bins):
            share = min(max((metres - nearest) / (farthest - nearest), 0.001), 0.99) ** 0.5
            last.bias[index] = math.log(share / (1 - share))
