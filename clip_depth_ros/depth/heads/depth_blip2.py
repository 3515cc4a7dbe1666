"""DepthBLIP-2: how near each prompt says a place is, read by BLIP-2's Q-Former from the shared encode.

The image tokens of one block, K prompts ("this object is close"), one map a prompt, a softmax over the prompts, and the
mean of K distances under it. One encode serves all prompts. Paper and public code differ in places (map layout,
temperature, block): both are there as settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.depth.heads.base import DepthHead, DepthPrediction
from clip_depth_ros.depth.heads.qformer import QFormer, QFormerConfig, layer_norm
from clip_depth_ros.errors import BadInput

LAYOUTS = ("v1", "v2")
ADAPTIVE = ("fixed", "published", "image")

# The published prompts, what the tokenizer of BERT uncased makes of them, and the published distances in metres.
CLASSES = ("giant", "extremely close", "close", "not in distance", "a little remote", "far", "unseen")
PROMPTS = tuple(f"this object is {name}" for name in CLASSES)
_CLASS_IDS = ((5016,), (5186, 2485), (2485,), (2025, 1999, 3292), (1037, 2210, 6556), (2521,), (16100,))
TOKEN_IDS = tuple((101, 2023, 4874, 2003, *ids, 102) for ids in _CLASS_IDS)
BINS = (1.0, 1.75, 2.25, 2.5, 2.75, 3.0, 3.5)


@dataclass(frozen=True)
class DepthBlip2Config:
    """What a DepthBLIP-2 head is; the defaults are the paper's on BLIP-2's ViT-L/14.

    Attributes:
        layer: the hidden state that is read: the output of the second-last block of 24.
        prompts: K sentences, for people to read.
        token_ids: their token ids, from [CLS] to [SEP].
        bins: the distance that each prompt stands for, metres.
        adaptive: ``fixed`` for these distances; ``published`` for distances that an MLP makes of them, the same for
            every image; ``image`` for an MLP that also reads the encoder's pooled token.
        map_size: rows, columns and channels of a prompt's map; their product is the Q-Former's width.
        layout: how that width folds to a map: ``v1``, channels innermost, or ``v2``, channels outermost.
        temperature: what the maps are divided by before the softmax over the prompts.
        vision_norm_eps: epsilon of BLIP-2's own norm of the image tokens (1e-6 in Hugging Face's files).
        valid_range: (nearest, farthest) metres; None for the smallest and largest distance, which no depth leaves.
        qformer: sizes of the Q-Former.
    """

    layer: int = 23
    prompts: tuple[str, ...] = PROMPTS
    token_ids: tuple[tuple[int, ...], ...] = TOKEN_IDS
    bins: tuple[float, ...] = BINS
    adaptive: str = "fixed"
    map_size: tuple[int, int, int] = (16, 16, 3)
    layout: str = "v1"
    temperature: float = 0.05
    vision_norm_eps: float = 1e-5
    valid_range: tuple[float, float] | None = None
    qformer: QFormerConfig = field(default_factory=QFormerConfig)

    def __post_init__(self) -> None:
        _check_prompts(self)
        if self.layout not in LAYOUTS:
            raise BadInput(f"layout of DepthBLIP-2 is {self.layout!r}: it must be {' or '.join(LAYOUTS)}.")
        if self.adaptive not in ADAPTIVE:
            raise BadInput(f"adaptive of DepthBLIP-2 is {self.adaptive!r}: it must be one of {', '.join(ADAPTIVE)}.")
        if min(self.map_size) < 1 or math.prod(self.map_size) != self.qformer.width:
            rows, columns, channels = self.map_size
            raise BadInput(
                f"A DepthBLIP-2 map of {rows} x {columns} x {channels} does not fold from a Q-Former of width "
                f"{self.qformer.width}: rows, columns and channels must multiply to it."
            )
        if not self.temperature > 0:
            raise BadInput(f"temperature of DepthBLIP-2 is {self.temperature}, but must be above 0.")
        if not 0 <= self.range_m[0] < self.range_m[1]:
            raise BadInput(f"The valid range {self.range_m} of a DepthBLIP-2 head must be 0 <= nearest < farthest.")

    @property
    def range_m(self) -> tuple[float, float]:
        """(nearest, farthest) metres that count as readings."""
        return self.valid_range if self.valid_range is not None else (min(self.bins), max(self.bins))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DepthBlip2Config:
        """Returns the configuration from its JSON values.

        Raises:
            BadInput: a value is unknown or makes no sense.
        """
        try:
            tuples: dict[str, Any] = {key: _tuples(value) for key, value in values.items() if key != "qformer"}
            return cls(**tuples, qformer=QFormerConfig(**values.get("qformer", {})))
        except (TypeError, ValueError) as error:
            raise BadInput(f"The configuration of the DepthBLIP-2 head does not fit this version ({error}).") from error


def _check_prompts(config: DepthBlip2Config) -> None:
    prompts, known, bins = len(config.prompts), len(config.token_ids), len(config.bins)
    if prompts != bins or known != bins:
        raise BadInput(
            f"DepthBLIP-2 has {prompts} prompts ({known} of them as token ids) but {bins} bins: give one distance in "
            "metres for each prompt."
        )
    if bins < 2 or min(config.bins) < 0 or min(config.bins) == max(config.bins):
        raise BadInput(f"The bins {list(config.bins)} of DepthBLIP-2 must be at least two different distances, metres.")
    sizes, ids = config.qformer, [number for prompt in config.token_ids for number in prompt]
    if not all(config.token_ids) or not 0 <= min(ids) <= max(ids) < sizes.vocabulary:
        raise BadInput(f"The prompts of DepthBLIP-2 must be token ids from 0 to {sizes.vocabulary - 1}, at least one.")
    if max(map(len, config.token_ids)) > sizes.positions:
        raise BadInput(f"A prompt of DepthBLIP-2 is longer than the {sizes.positions} tokens its Q-Former reads.")


def bin_network(bins: int, image_width: int = 0) -> nn.Sequential:
    """Returns DepthBLIP-2's MLP for adaptive distances, under its own keys 0, 2, 4, 7, 10, 12.

    Args:
        bins: K, in and out; 83,463 parameters for 7.
        image_width: channels of the pooled image token, where the MLP reads one.
    """
    return nn.Sequential(
        *(nn.Linear(bins + image_width, 64), nn.ReLU()),
        *(nn.Linear(64, 128), nn.ReLU()),
        *(nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(128, 64), nn.ReLU()),
        nn.Linear(64, bins),
    )


class DepthBlip2Head(DepthHead):
    """DepthBLIP-2 on the shared encode; metres.

    Its weights may be of 16 bits, see :mod:`clip_depth_ros.depth.heads.qformer`; everything after the Q-Former is of 32
    bits always, because a low temperature magnifies rounding.
    """

    method = "depth_blip2"
    bin_bits: Tensor
    token_ids: Tensor
    token_mask: Tensor | None

    def __init__(self, config: DepthBlip2Config) -> None:
        super().__init__()
        self.config = config
        image_width = config.qformer.image_width
        self.ln_vision = nn.LayerNorm(image_width, config.vision_norm_eps)
        self.qformer = QFormer(config.qformer)
        if config.adaptive != "fixed":
            self.bins = bin_network(len(config.bins), image_width if config.adaptive == "image" else 0)
        longest = max(map(len, config.token_ids))
        lengths = torch.tensor([len(ids) for ids in config.token_ids])
        padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in config.token_ids])
        mask = torch.arange(longest) < lengths[:, None]
        # As whole numbers, the bits of 32-bit floats keep their precision when the head is moved to 16 bits.
        bits = torch.tensor(config.bins, dtype=torch.float32).view(torch.int32)
        self.register_buffer("bin_bits", bits, persistent=False)
        self.register_buffer("token_ids", padded, persistent=False)
        self.register_buffer("token_mask", None if bool(mask.all()) else mask, persistent=False)

    def with_options(self, **options: Any) -> DepthBlip2Head:
        """Returns this head with other distances or another temperature, on the same Q-Former.

        Raises:
            BadInput: an option that makes no sense, or distances for a head that has learnt its own.
        """
        if not options:
            return self
        if "bins" in options and self.config.adaptive != "fixed":
            raise BadInput(
                "depth_blip2.bins is given, but the checkpoint's distances come from an MLP that was trained: leave "
                "the parameter out, or give a checkpoint with fixed distances."
            )
        head = type(self)(replace(self.config, **options))
        head.load_state_dict(self.state_dict())
        return head.requires_grad_(False).eval()

    @property
    def layers(self) -> frozenset[int]:
        """The one hidden state it reads."""
        return frozenset((self.config.layer,))

    @property
    def needs_pooled(self) -> bool:
        """Whether the distances depend on the image."""
        return self.config.adaptive == "image"

    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        """Predicts depth ``(B, H, W)`` in metres at ``output_size``; see :class:`DepthPrediction`.

        The confidence is 1 minus the entropy of the weights over the prompts, as a share of the largest possible one.

        Raises:
            BadInput: the features are of an encoder of another width.
        """
        weights = self.prompt_weights(features)
        # Spelt out, for ONNX has no entropy; the smallest normal number stands for 0, whose share is 0 anyhow.
        logarithms = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
        entropy = -(weights * logarithms).sum(dim=1) / math.log(weights.shape[1])
        confidence = _resized((1 - entropy).clamp(0, 1), output_size)
        depth = self.depth_map(weights, self.distances(features), output_size)
        return DepthPrediction(depth, self.config.range_m, confidence)

    def prompt_weights(self, features: EncoderFeatures) -> Tensor:
        """Returns how much each prompt applies to each place: ``(B, K, rows, columns)`` float32, 1 over the prompts.

        Raises:
            BadInput: the features are of an encoder of another width.
        """
        tokens = features.hidden[self.config.layer]
        if tokens.shape[-1] != self.config.qformer.image_width:
            raise BadInput(
                f"The DepthBLIP-2 head reads image tokens {self.config.qformer.image_width} wide, but the encoder's "
                f"are {tokens.shape[-1]} wide: take the encoder that the head's file names."
            )
        queries = self.qformer(layer_norm(self.ln_vision, tokens), self.token_ids, self.token_mask)
        maps = self.fold(queries.float().mean(dim=2)).amax(dim=2)
        return torch.softmax(maps / self.config.temperature, dim=1)

    def fold(self, values: Tensor) -> Tensor:
        """Folds ``(B, K, W)`` to maps ``(B, K, channels, rows, columns)`` in the configured layout."""
        rows, columns, channels = self.config.map_size
        if self.config.layout == "v1":
            return values.unflatten(-1, (rows, columns, channels)).permute(0, 1, 4, 2, 3)
        return values.unflatten(-1, (channels, rows, columns))

    def distances(self, features: EncoderFeatures) -> Tensor:
        """Returns the prompts' distances in metres, ``(1, K)`` or with adaptive ``image`` ``(B, K)``, float32."""
        # ONNX has no view of bits; a trace keeps the numbers themselves.
        tracing = torch.jit.is_tracing()
        fixed = (torch.tensor(self.config.bins) if tracing else self.bin_bits.view(torch.float32))[None]
        if self.config.adaptive == "fixed":
            return fixed
        inputs = fixed
        if self.config.adaptive == "image":
            assert features.pooled is not None
            inputs = torch.cat([fixed.expand(features.pooled.shape[0], -1), features.pooled.float()], dim=1)
        nearest, farthest = min(self.config.bins), max(self.config.bins)
        return nearest + torch.sigmoid(self._bin_values(inputs)).square() * (farthest - nearest)

    def depth_map(self, weights: Tensor, distances: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns depth ``(B, H, W)`` metres at ``output_size`` from weights ``(B, K, h, w)`` and distances."""
        depth = (weights * distances[:, :, None, None]).sum(dim=1)
        # Rounding must not take a mean of distances out of the range that they span: it would be no reading there.
        return _resized(depth, output_size).clamp(min(self.config.bins), max(self.config.bins))

    def _bin_values(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            for module in self.bins:
                if isinstance(module, nn.Linear):
                    inputs = F.linear(inputs, module.weight.float(), module.bias.float())
                else:
                    inputs = module(inputs)
        return inputs

    def config_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-ready values."""
        return asdict(self.config)

    @classmethod
    def from_config_dict(cls, values: dict[str, Any]) -> DepthBlip2Head:
        """Builds the head from :meth:`config_dict`'s values.

        Raises:
            BadInput: a value is missing, unknown or makes no sense.
        """
        return cls(DepthBlip2Config.from_dict(values))


def flip_averaged(
    encode: Callable[[Tensor], EncoderFeatures], head: DepthHead, pixels: Tensor, output_size: tuple[int, int]
) -> DepthPrediction:
    """Predicts the mean of each picture's depth and its mirror image's, in one encode of both.

    Args:
        encode: from pixels to the features that ``head`` reads.
        head: any head.
        pixels: encoder input ``(B, 3, h, w)``, normalised.
        output_size: (H, W) in pixels.
    """
    both = head(encode(torch.cat([pixels, pixels.flip(-1)])), output_size)

    def averaged(value: Tensor) -> Tensor:
        upright, mirrored = value.chunk(2)
        return (upright + mirrored.flip(-1)) / 2

    confidence = None if both.confidence is None else averaged(both.confidence)
    return replace(both, depth=averaged(both.depth), confidence=confidence)


def _resized(value: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(value[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list | tuple) else value
