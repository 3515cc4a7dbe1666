"""The ``network`` section of a DepthBLIP-2 recipe, and the head it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clip_depth_ros.depth.checkpoint import Checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.heads.depth_blip2 import PROMPTS, DepthBlip2Config
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.importers.blip2 import default_temperature, tokenised
from clip_depth_ros.errors import BadInput

_SPECIAL_TOKENS = ("[PAD]", "[CLS]", "[SEP]")


@dataclass(frozen=True)
class DepthBlip2MethodConfig:
    """The frozen encoder, where the Q-Former comes from, and what learns.

    Attributes:
        encoder: an encoder file of this project (``.safetensors``), or open_clip's name of a model.
        pretrained: for a model of open_clip: a tag, such as ``openai``, or a local ``.safetensors``.
        qformer: file of ``clip-depth import blip2``; empty: a Q-Former of random weights and of the sizes below.
        train_qformer: whether the Q-Former learns; without a file it must.
        adaptive: ``fixed`` distances, ``published`` or ``image``, see :class:`DepthBlip2Config`.
        start_at_bins: the MLP starts with the fixed distances; else from torch's own start, as published.
        prompts: K sentences; empty: the file's, or the published ones.
        vocabulary: ``vocab.txt`` of BERT uncased, for other prompts of a Q-Former from a file. A Q-Former from
            nothing learns a vocabulary of its prompts' words alone.
        bins: K distances in metres (at the canonical focal length); empty: the file's, or the published ones.
        layer: the hidden state to read; empty: the file's, or the second-last block's output.
        map_size: rows, columns and channels of a prompt's map; empty: the file's.
        layout: ``v1`` or ``v2``; empty: the file's, or v1.
        temperature: empty: the file's, or the layout's published one.
        width: width of a Q-Former from nothing.
        layers: its layers.
        heads: its attention heads.
        hidden: hidden width of its feed-forward parts.
        queries: its queries.
        dropout: its dropout.
        valid_range: (nearest, farthest) metres that count.
        canonical_focal_px: focal length in encoder-input pixels that predictions are for; empty: depth as the data
            has it, for the data's own camera, as the paper does it.
        crop: left, top, right and bottom in pixels of what of a picture is looked at; empty: all of it.
        flip_averaging: predictions are averaged with the mirror image's.
        l1_weight: weight of the mean absolute error in the loss.
        rmse_weight: weight of the root of the mean squared error.
    """

    encoder: str
    pretrained: str = ""
    qformer: str = ""
    train_qformer: bool = False
    adaptive: str = "published"
    start_at_bins: bool = False
    prompts: tuple[str, ...] = ()
    vocabulary: str = ""
    bins: tuple[float, ...] = ()
    layer: int | None = None
    map_size: tuple[int, int, int] | None = None
    layout: str = ""
    temperature: float | None = None
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    queries: int = 32
    dropout: float = 0.1
    valid_range: tuple[float, float] = (0.001, 10.0)
    canonical_focal_px: float | None = None
    crop: tuple[int, int, int, int] | None = None
    flip_averaging: bool = False
    l1_weight: float = 0.5
    rmse_weight: float = 0.5

    def __post_init__(self) -> None:
        if not self.qformer and not self.train_qformer:
            raise BadInput(
                "A DepthBLIP-2 head needs a Q-Former: give network.qformer, a file of `clip-depth import blip2`, or "
                "set network.train_qformer to learn one from nothing."
            )
        if self.adaptive == "fixed" and not self.train_qformer:
            raise BadInput(
                "Nothing of DepthBLIP-2 would learn: set network.adaptive to published or image, or train_qformer."
            )
        if self.crop is not None and not (0 <= self.crop[0] < self.crop[2] and 0 <= self.crop[1] < self.crop[3]):
            raise BadInput(f"network.crop is {list(self.crop)}: it is left, top, right and bottom in pixels.")

    def head_config(self, encoder: SharedEncoder, file: Checkpoint | None) -> DepthBlip2Config:
        """Returns the head: with a Q-Former's file what that says, with what this says in its place."""
        given = {
            "bins": self.bins,
            "layer": self.layer,
            "map_size": self.map_size,
            "layout": self.layout,
            "temperature": self.temperature,
        }
        values: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, "", ())}
        values |= {"adaptive": self.adaptive, "valid_range": self.valid_range}
        if file is not None:
            known = DepthBlip2Config.from_dict(file.metadata.head)
            if self.prompts and self.prompts != known.prompts:
                ids = tokenised(self.prompts, Path(self.vocabulary) if self.vocabulary else None)
                values |= {"prompts": self.prompts, "token_ids": ids}
            return replace(known, **values)
        prompts = self.prompts or PROMPTS
        ids, words = word_ids(prompts)
        usual = {"layer": encoder.depth - 1, "temperature": default_temperature(self.layout)}
        sizes = self._sizes(encoder.width, words, max(map(len, ids)))
        return DepthBlip2Config(**{**usual, **values}, prompts=prompts, token_ids=ids, qformer=sizes)

    def _sizes(self, image_width: int, vocabulary: int, positions: int) -> QFormerConfig:
        return QFormerConfig(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            hidden=self.hidden,
            queries=self.queries,
            image_width=image_width,
            vocabulary=vocabulary,
            positions=positions,
            dropout=self.dropout,
        )


def word_ids(prompts: Sequence[str]) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Returns token ids of a vocabulary of the prompts' own words, in the order they appear in, and its size."""
    numbers = {word: number for number, word in enumerate(_SPECIAL_TOKENS)}
    ids = []
    for prompt in prompts:
        words = prompt.lower().split()
        for word in words:
            numbers.setdefault(word, len(numbers))
        ids.append((numbers["[CLS]"], *(numbers[word] for word in words), numbers["[SEP]"]))
    return tuple(ids), len(numbers)
