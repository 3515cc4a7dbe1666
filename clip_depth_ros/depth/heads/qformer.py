"""BLIP-2's Q-Former (arXiv 2301.12597) for a fixed set of prompts: learnt queries read the image once per prompt.

BERT with two additions: every second layer's queries attend to the image, and queries and text have feed-forward parts
of their own. Prompts do not change from image to image, so what comes before the first look at the image is computed
once; the image's keys and values are computed once and read by all the prompts; and of the last layer only the queries
are computed, whose text part does not exist here.

Weights may be of 16 bits: matrix products then are, while the running sum and its normalisation stay in 32 bits. With
all of it in 16 bits the error of DepthBLIP-2's depth is more than twice as large; a last product in 32 bits gains
nothing, nor does any other part alone (measured on random weights).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.errors import BadInput


@dataclass(frozen=True)
class QFormerConfig:
    """Sizes; the defaults are BLIP-2's on a ViT-L/14.

    Attributes:
        width: W, channels of queries and text.
        layers: number of layers.
        heads: attention heads of a layer; they divide ``width``.
        hidden: hidden width of the feed-forward parts.
        queries: Q, number of learnt queries.
        image_width: channels of the image tokens.
        cross_every: layers 0, ``cross_every``, 2 ``cross_every``, ... look at the image.
        vocabulary: number of text tokens; BERT's 30522 and one of BLIP-2's own.
        positions: longest text, in tokens.
        norm_eps: epsilon of the layer norms.
        dropout: probability in training, of hidden values and of attention weights.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072
    queries: int = 32
    image_width: int = 1024
    cross_every: int = 2
    vocabulary: int = 30523
    positions: int = 512
    norm_eps: float = 1e-12
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "hidden", "queries", "image_width", "cross_every", "vocabulary"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} of a Q-Former is {getattr(self, name)}, but must be at least 1.")
        if self.width % self.heads:
            raise BadInput(f"A Q-Former of width {self.width} cannot have {self.heads} heads: they must divide it.")


def linear(layer: nn.Linear, value: Tensor) -> Tensor:
    """Applies ``layer`` in the type of its weights."""
    return F.linear(value.to(layer.weight.dtype), layer.weight, layer.bias)


def layer_norm(norm: nn.LayerNorm, value: Tensor) -> Tensor:
    """Applies ``norm`` in 32 bits, whatever the type of its weights; returns float32."""
    return F.layer_norm(value.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)


class FeedForward(nn.Module):
    """Two linear layers around a GELU, with BERT's norm after the sum."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, config.hidden)
        self.contract = nn.Linear(config.hidden, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, running: Tensor) -> Tensor:
        """Returns ``running (..., W)`` float32 after this part."""
        added = linear(self.contract, F.gelu(linear(self.expand, running)))
        return layer_norm(self.norm, self.dropout(added) + running)


class Attention(nn.Module):
    """The part that both kinds of attention share: heads, output and BERT's norm after the sum."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.output = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, running: Tensor) -> Tensor:
        """Returns normalised ``running (S, M, W)`` plus what its ``query (S, M, W)`` finds in S x N keys and values."""
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        dropout = self.dropout.p if self.training else 0.0
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        found = linear(self.output, found.transpose(1, 2).flatten(2))
        return layer_norm(self.norm, self.dropout(found) + running)


class SelfAttention(Attention):
    """Queries and text of one prompt attend to each other."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__(config)
        self.qkv = nn.Linear(config.width, 3 * config.width)

    def forward(self, running: Tensor, mask: Tensor | None, rows: int | None = None) -> Tensor:
        """Returns ``(S, rows, W)``, the first ``rows`` of ``running (S, T, W)`` after the attention; all by default.

        Args:
            running: float32 sums.
            mask: bool ``(S, 1, 1, T)``, True where there is something to attend to; None for everywhere.
            rows: how many are wanted.
        """
        if rows is None:
            query, key, value = linear(self.qkv, running).chunk(3, dim=-1)
            return self.attend(query, key, value, mask, running)
        width, weight, bias = running.shape[-1], self.qkv.weight, self.qkv.bias
        wanted, typed = running[:, :rows], running.to(weight.dtype)
        query = F.linear(typed[:, :rows], weight[:width], bias[:width])
        key, value = F.linear(typed, weight[width:], bias[width:]).chunk(2, dim=-1)
        return self.attend(query, key, value, mask, wanted)


class CrossAttention(Attention):
    """The queries of all prompts attend to one set of keys and values of the image."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__(config)
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.image_width, 2 * config.width)

    def forward(self, running: Tensor, image: Tensor) -> Tensor:
        """Returns ``running (B, K * Q, W)`` after reading the image tokens ``(B, N, image_width)``."""
        key, value = linear(self.key_value, image).chunk(2, dim=-1)
        return self.attend(linear(self.query, running), key, value, None, running)


class Layer(nn.Module):
    """One layer; those that look at the image have a cross-attention, and all but the last a part for the text."""

    def __init__(self, config: QFormerConfig, index: int) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.cross_attention = None if index % config.cross_every else CrossAttention(config)
        self.query_feed_forward = FeedForward(config)
        self.text_feed_forward = FeedForward(config) if index + 1 < config.layers else None

    def read(self, queries: Tensor, image: Tensor) -> Tensor:
        """Returns the queries ``(B, K, Q, W)`` after the part of the layer that is theirs alone."""
        if self.cross_attention is not None:
            queries = self.cross_attention(queries.flatten(1, 2), image).unflatten(1, queries.shape[1:3])
        return self.query_feed_forward(queries)


class Constants:
    """What does not depend on the image, and what it was computed from."""

    def __init__(self, sources: list[Tensor], values: tuple[Tensor, Tensor]) -> None:
        # Detached tensors keep the memory of their sources, so that no other weights can come to lie there.
        self._sources = [(source.detach(), source._version) for source in sources]
        self.values = values

    def still_hold_for(self, sources: list[Tensor]) -> bool:
        """Whether ``sources`` are the tensors of that time, in the same memory and never written to since."""
        return len(sources) == len(self._sources) and all(
            kept.data_ptr() == now.data_ptr()
            and (kept.dtype, kept.shape, kept.device) == (now.dtype, now.shape, now.device)
            and version == now._version
            for (kept, version), now in zip(self._sources, sources)
        )


class QFormer(nn.Module):
    """The Q-Former; returns its queries for every prompt and image."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.randn(config.queries, config.width) * 0.02)
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        self._constants: Constants | None = None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)  # BERT's own start
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor, token_ids: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """Reads the image once for every prompt.

        Args:
            image: tokens ``(B, N, image_width)``, of any floating type.
            token_ids: prompts ``(K, L)`` int64, padded to one length.
            token_mask: bool ``(K, L)``, False where a prompt is padded; None where none is.

        Returns:
            Queries of the last layer, ``(B, K, Q, W)`` float32.
        """
        batch = image.shape[0]  # len() of a tensor would fix the batch of an exported graph
        queries, text = (part.expand(batch, *part.shape) for part in self._before_the_image(token_ids, token_mask))
        mask = self._mask(token_mask)
        if mask is not None:
            mask = mask.repeat(batch, 1, 1, 1)
        first, *others = self._typed_layers
        queries = first.read(queries, image)
        for layer in others:
            running = torch.cat([queries, text], dim=2).flatten(0, 1)
            last = layer.text_feed_forward is None
            running = layer.attention(running, mask, self.config.queries if last else None)
            running = running.unflatten(0, (-1, token_ids.shape[0]))
            queries = layer.read(running[:, :, : self.config.queries], image)
            if layer.text_feed_forward is not None:
                text = layer.text_feed_forward(running[:, :, self.config.queries :])
        return queries

    def _before_the_image(self, token_ids: Tensor, token_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the queries ``(K, Q, W)`` before their first look at the image and the text ``(K, L, W)`` after layer
        0: from memory where all that they depend on is frozen and as it was."""
        weights = list(self._weights_before_the_image())
        changing = torch.compiler.is_compiling() or any(value.requires_grad for value in weights)
        if changing or (self.training and self.dropout.p > 0) or any(value.is_inference() for value in weights):
            return self._compute_constants(token_ids, token_mask)
        sources = [*weights, token_ids, *([] if token_mask is None else [token_mask])]
        if any(value.is_inference() for value in sources):
            return self._compute_constants(token_ids, token_mask)
        if self._constants is None or not self._constants.still_hold_for(sources):
            # Tensors made in inference mode could not be used in a training afterwards.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(token_ids.device.type, enabled=False):
                self._constants = Constants(sources, self._compute_constants(token_ids, token_mask))
        return self._constants.values

    @property
    def _typed_layers(self) -> list[Layer]:
        return cast("list[Layer]", list(self.layers))

    def _weights_before_the_image(self) -> Iterator[Tensor]:
        first = self._typed_layers[0]
        yield self.query_tokens
        for part in (self.word_embeddings, self.position_embeddings, self.norm, first.attention):
            yield from part.parameters()
        if first.text_feed_forward is not None:
            yield from first.text_feed_forward.parameters()

    def _compute_constants(self, token_ids: Tensor, token_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        text = self.word_embeddings(token_ids).float() + self.position_embeddings.weight[: token_ids.shape[1]].float()
        queries = self.query_tokens.float().expand(len(token_ids), -1, -1)
        running = self.dropout(layer_norm(self.norm, torch.cat([queries, text], dim=1)))
        first = self._typed_layers[0]
        running = first.attention(running, self._mask(token_mask))
        queries, text = running.split([self.config.queries, token_ids.shape[1]], dim=1)
        return queries, text if first.text_feed_forward is None else first.text_feed_forward(text)

    def _mask(self, token_mask: Tensor | None) -> Tensor | None:
        """Returns where queries and text may attend to, ``(K, 1, 1, Q + L)``."""
        return None if token_mask is None else F.pad(token_mask, (self.config.queries, 0), value=True)[:, None, None]
