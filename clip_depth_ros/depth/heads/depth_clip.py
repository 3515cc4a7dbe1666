"""DepthCLIP: zero-shot depth from the words that each patch resembles ("Can language understand depth?", 2022).

Every patch feature is compared with the features of K prompts such as "This object is far"; the softmax over the K
weighs K fixed distances. Nothing is trained: CLIP's own weights are all it takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.depth.config import distances_problem
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.heads.base import DepthHead, DepthPrediction
from clip_depth_ros.depth.prompts import prompts_of
from clip_depth_ros.depth.towers import ResNetTower
from clip_depth_ros.errors import BadInput

VARIANTS = ("attnpool", "released", "tokens")
_LOGIT_SCALE = 100.0  # CLIP's own, on top of which DepthCLIP has its temperature


@dataclass(frozen=True)
class DepthClipConfig:
    """Words, distances and the features they are compared with; the defaults are the published ones on RN50.

    Attributes:
        layer: the tower's last hidden state: 4 for RN50, 12 for ViT-B.
        embed_dim: E, width of the joint image-text space.
        variant: ``attnpool`` takes a ResNet's last stage through the value and output projections of its attention
            pool, without positions; ``released`` is what the authors' code runs: the last stage itself, scaled to
            length 1, of which every other channel meets the prompts; ``tokens`` takes a ViT's patch tokens through
            its last LayerNorm and projection.
        template: the sentence, with ``{class}`` for the class word.
        classes: the K class words.
        bins: the distance each class word stands for, metres; in any order.
        temperature: divides the logits 100 x cosine; smaller makes the nearest word win more.
    """

    layer: int = 4
    embed_dim: int = 1024
    variant: str = "attnpool"
    template: str = "This object is {class}"
    classes: tuple[str, ...] = (
        "giant",
        "extremely close",
        "close",
        "not in distance",
        "a little remote",
        "far",
        "unseen",
    )
    bins: tuple[float, ...] = (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0)
    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_options(**{name: getattr(self, name) for name in OPTIONS})

    @classmethod
    def for_encoder(cls, encoder: SharedEncoder, **options: Any) -> DepthClipConfig:
        """Returns the configuration for ``encoder``; of :data:`OPTIONS` those not given are the published ones.

        Raises:
            BadInput: an option that makes no sense, or not on this encoder.
        """
        resnet = isinstance(encoder.tower, ResNetTower)
        sizes = {"layer": encoder.depth, "embed_dim": encoder.config.embed_dim}
        config = cls(**{"variant": "attnpool" if resnet else "tokens", **options, **sizes})
        config.check_encoder(encoder)
        return config

    def check_encoder(self, encoder: SharedEncoder) -> None:
        """Checks that ``encoder`` has what the variant reads.

        Raises:
            BadInput: it has not.
        """
        name, resnet = encoder.config.name, isinstance(encoder.tower, ResNetTower)
        if resnet == (self.variant == "tokens"):
            kind, right = ("ResNet", "attnpool or released") if resnet else ("vision transformer", "tokens")
            raise BadInput(
                f"DepthCLIP's variant {self.variant} does not exist on encoder {name}, a {kind}: set "
                f"depth_clip.variant to {right}."
            )
        if self.variant == "released" and encoder.width != 2 * encoder.config.embed_dim:
            raise BadInput(
                f"DepthCLIP's variant released keeps every other channel, and encoder {name} has {encoder.width} for "
                f"an embedding of {encoder.config.embed_dim}: use variant attnpool, or encoder RN50."
            )
        if not encoder.tower.projects_patches:
            raise BadInput(
                f"Encoder {name} has no projection of its patches to the joint image-text space, which DepthCLIP "
                "compares them in: take the weights of a whole CLIP model, such as open_clip's ViT-B-16 or RN50."
            )
        if (self.layer, self.embed_dim) != (encoder.depth, encoder.config.embed_dim):
            raise BadInput(
                f"DepthCLIP was made for hidden state {self.layer} and an embedding of {self.embed_dim}, and encoder "
                f"{name} has {encoder.depth} and {encoder.config.embed_dim}: embed the prompts with this encoder's "
                "own text tower."
            )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The K sentences."""
        return prompts_of(self.template, self.classes)

    @property
    def valid_range(self) -> tuple[float, float]:
        """(nearest, farthest) metres the head can answer: its smallest and its largest bin."""
        return min(self.bins), max(self.bins)


# What a user chooses; the other fields follow from the encoder.
OPTIONS = ("variant", "template", "classes", "bins", "temperature")


def check_options(
    variant: str | None = None,
    template: str | None = None,
    classes: Sequence[str] | None = None,
    bins: Sequence[float] | None = None,
    temperature: float | None = None,
) -> None:
    """Checks those of the options of :class:`DepthClipConfig` that are given.

    Raises:
        BadInput: one makes no sense, or class words and bins are of different number.
    """
    if variant is not None and variant not in VARIANTS:
        raise BadInput(f"depth_clip.variant is {variant!r}: it must be one of {', '.join(VARIANTS)}.")
    if template is not None or classes is not None:
        prompts_of("{class}" if template is None else template, ["far"] if classes is None else classes)
    if bins is not None and (reason := distances_problem("depth_clip.bins", bins)):
        raise BadInput(reason)
    if classes is not None and bins is not None and len(classes) != len(bins):
        raise BadInput(
            f"DepthCLIP has {len(classes)} class words (depth_clip.classes) and {len(bins)} distances "
            "(depth_clip.bins): give one distance for each word."
        )
    if temperature is not None and not 1e-3 <= temperature <= 1e3:
        raise BadInput(f"depth_clip.temperature is {temperature}: it must be from 0.001 to 1000.")


class DepthClipHead(DepthHead):
    """Compares patches with prompts; metres by the distances that the prompts stand for.

    Attributes:
        prompts: ``(K, E)`` prompt features of length 1. They are stored with the head, so that nobody who loads it
            needs a text tower.
        bins: ``(K,)`` metres.
    """

    method = "depth_clip"
    prompts: Tensor
    bins: Tensor

    def __init__(self, config: DepthClipConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("prompts", torch.zeros(len(config.classes), config.embed_dim))
        self.register_buffer("bins", torch.tensor(config.bins), persistent=False)

    @classmethod
    def from_prompts(cls, config: DepthClipConfig, features: Tensor) -> DepthClipHead:
        """Builds the head from the features ``(K, E)`` of ``config.prompts``, of any length but 0.

        Raises:
            BadInput: another number of features than of class words, another width than the encoder's embedding, or
                features that are no direction.
        """
        head = cls(config)
        if features.ndim != 2 or len(features) != len(config.classes):
            raise BadInput(
                f"DepthCLIP has {len(config.classes)} class words, and prompt features of shape "
                f"{tuple(features.shape)}: give one row for each word."
            )
        if features.shape[1] != config.embed_dim:
            raise BadInput(
                f"The prompt features are {features.shape[1]} wide and the encoder's embedding is {config.embed_dim}: "
                "embed the prompts with the text tower that belongs to the encoder."
            )
        features = features.detach().float()
        if not features.isfinite().all() or not features.any(dim=1).all():
            raise BadInput("A prompt feature is zero or not finite: check the weights of the text tower.")
        head.prompts.copy_(F.normalize(features, dim=-1))
        return head.requires_grad_(False).eval()

    def with_options(self, **options: Any) -> DepthClipHead:
        """Returns this head with other bins, temperature or variant, on the same prompt features.

        Raises:
            BadInput: an option that makes no sense; or other words or another template, whose features this head
                does not have.
        """
        for name in ("classes", "template"):
            stored = getattr(self.config, name)
            if options.get(name, stored) != stored:
                raise BadInput(
                    f"depth_clip.{name} is {options[name]!r}, and the checkpoint holds prompt features of {stored!r} "
                    "alone: leave the parameter or the checkpoint out."
                )
        head = type(self)(replace(self.config, **options))
        head.load_state_dict(self.state_dict())
        return head.requires_grad_(False).eval()

    @property
    def layers(self) -> frozenset[int]:
        """The last hidden state."""
        return frozenset({self.config.layer})

    @property
    def needs_pooled(self) -> bool:
        """The pooled token says nothing of single patches."""
        return False

    @property
    def note(self) -> str:
        """What whoever starts this head should be told, one sentence."""
        nearest, farthest = self.config.valid_range
        return (
            f"Head depth_clip never learnt depth: it blends {len(self.config.bins)} distances from {nearest:g} to "
            f"{farthest:g} m, patch by patch, after the words that a patch resembles (published on NYU: 39 % off on "
            "average), so take it for nearer and farther, not for metres to drive by."
        )

    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        """Predicts depth ``(B, H, W)`` in metres at ``output_size``, and how clearly one word wins as confidence.

        The confidence is 1 - H / log K, with H the entropy of a patch's weights: 1 where one word wins, 0 where all
        K are alike.

        Raises:
            BadInput: the features come from an encoder that lacks what the variant reads.
        """
        # The scale of 1000 turns the rounding of 16-bit cosines into whole logits, so all of this is fp32.
        patches = F.normalize(self._patches(features), dim=-1)
        if self.config.variant == "released":
            patches = patches[..., ::2]
        scale = _LOGIT_SCALE / self.config.temperature
        logarithms = (scale * (patches @ self.prompts.float().T)).log_softmax(dim=-1)
        weights = logarithms.exp()
        depth = (weights * self.bins.float()).sum(dim=-1)
        confidence = 1 + (weights * logarithms).sum(dim=-1) / math.log(len(self.config.bins))
        maps = torch.stack([depth, confidence], dim=1).unflatten(2, features.grid)
        maps = F.interpolate(maps, output_size, mode="bilinear", align_corners=True)
        # Rounding must not carry a blend beyond its own bins, where it would be masked.
        nearest, farthest = self.config.valid_range
        return DepthPrediction(
            maps[:, 0].clamp(nearest, farthest), self.config.valid_range, confidence=maps[:, 1].clamp(0, 1)
        )

    def _patches(self, features: EncoderFeatures) -> Tensor:
        """Returns the patch features of the variant in fp32, ``(B, N, E)``, or ``(B, N, 2 E)`` for ``released``."""
        hidden = features.hidden[self.config.layer]
        if self.config.variant == "released":
            patches, width = hidden[:, features.prefix_tokens :], 2 * self.config.embed_dim
        elif features.project is None:
            raise BadInput(
                "DepthCLIP needs patch features in the joint image-text space, and the encoder has no projection to "
                "it: take the weights of a whole CLIP model."
            )
        else:
            patches, width = features.project(hidden), self.config.embed_dim
        if patches.shape[-1] != width:
            raise BadInput(
                f"DepthCLIP's variant {self.config.variant} was made for patch features {width} wide, and the encoder "
                f"gives {patches.shape[-1]}: embed the prompts for this encoder."
            )
        return patches.float()

    def config_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-ready values, with the range that follows from the bins."""
        return {**asdict(self.config), "valid_range": list(self.config.valid_range)}

    @classmethod
    def from_config_dict(cls, values: dict[str, Any]) -> DepthClipHead:
        """Builds the head from :meth:`config_dict`'s values; its prompt features are zero until they are loaded.

        Raises:
            BadInput: a value is missing, unknown or makes no sense.
        """
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
            if name != "valid_range"
        }
        try:
            return cls(DepthClipConfig(**fields))
        except TypeError as error:
            raise BadInput(f"The configuration of the DepthCLIP head does not fit this version ({error}).") from error
