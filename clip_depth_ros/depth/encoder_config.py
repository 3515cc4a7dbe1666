"""What an image encoder is: its architecture, activation and input normalisation, in open_clip's terms."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clip_depth_ros.errors import BadInput

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
NORMALISATIONS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
"""Means and standard deviations by name, RGB in 0..1, for methods that want others than their encoder's own."""
ACTIVATIONS = ("gelu", "quick_gelu", "gelu_tanh")


@dataclass(frozen=True)
class EncoderConfig:
    """Everything needed to build an image tower without its weights.

    Attributes:
        name: open_clip's model name, or a free name for a tower open_clip does not list.
        vision: open_clip's ``vision_cfg``, for example ``{"image_size": 224, "layers": 12, "width": 768,
            "patch_size": 16}``. One key is this project's: ``"stem": "convolutional"`` gives open_clip's ViT early
            convolutions instead of its patch projection, see :func:`~clip_depth_ros.depth.stems.convolutional_stem`.
        embed_dim: width of the joint image-text embedding.
        activation: ``gelu`` (exact), ``quick_gelu`` (OpenAI's) or ``gelu_tanh`` (Hugging Face's SigLIP).
        mean: per-channel mean of the input, RGB in 0..1.
        std: per-channel standard deviation of the input, RGB in 0..1.
        pretrained: where the weights came from, for people; the identity hash is what is checked.
    """

    name: str
    vision: dict[str, Any]
    embed_dim: int
    activation: str = "gelu"
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD
    pretrained: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise BadInput(
                f"Encoder {self.name} asks for activation {self.activation!r}: it must be one of "
                f"{', '.join(ACTIVATIONS)}."
            )

    @classmethod
    def from_open_clip(cls, name: str, pretrained: str = "") -> EncoderConfig:
        """Returns open_clip's own configuration of ``name``, normalised as ``pretrained`` (or its first tag) is.

        Raises:
            BadInput: open_clip knows no model of that name.
        """
        import open_clip

        config = open_clip.get_model_config(name)
        if config is None:
            raise BadInput(
                f"open_clip has no model {name!r}: `python -c 'import open_clip; print(open_clip.list_models())'` "
                "lists them."
            )
        tags = open_clip.list_pretrained_tags_by_model(name)
        tag = pretrained if pretrained in tags else (tags[0] if tags else "")
        weights = open_clip.get_pretrained_cfg(name, tag) if tag else {}
        # OpenAI's own weights were trained with QuickGELU; open_clip switches by tag, not by model name.
        quick_gelu = config.get("quick_gelu", False) or (bool(pretrained) and weights.get("quick_gelu", False))
        return cls(
            name=name,
            vision=dict(config["vision_cfg"]),
            embed_dim=config["embed_dim"],
            activation="quick_gelu" if quick_gelu else "gelu",
            mean=tuple(weights.get("mean") or OPENAI_MEAN),
            std=tuple(weights.get("std") or OPENAI_STD),
            pretrained=pretrained,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EncoderConfig:
        """Returns the configuration written by :meth:`to_dict`.

        Raises:
            BadInput: a key is missing or unknown.
        """
        try:
            values = dict(values)
            for key in ("mean", "std"):
                values[key] = tuple(values[key])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"The encoder configuration is incomplete or has unknown keys ({error}).") from error

    def normalised(self, name: str) -> EncoderConfig:
        """Returns the encoder with the mean and deviation of a name in :data:`NORMALISATIONS`; empty: its own.

        Raises:
            BadInput: another name.
        """
        if not name:
            return self
        if name not in NORMALISATIONS:
            raise BadInput(f"Normalisation {name!r} is unknown: it must be empty or {' or '.join(NORMALISATIONS)}.")
        mean, std = NORMALISATIONS[name]
        return replace(self, mean=mean, std=std)

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-ready values."""
        return asdict(self)

    @property
    def image_size(self) -> tuple[int, int]:
        """The input size (height, width) in pixels the position embedding was trained at."""
        size = self.vision.get("image_size", 224)
        return (size, size) if isinstance(size, int) else (size[0], size[1])
