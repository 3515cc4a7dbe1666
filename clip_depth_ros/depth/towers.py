"""One view of open_clip's image towers: embed, blocks, norm, pool, project.

open_clip holds three kinds of tower whose parts have different names: its own ViT (CLIP), timm's ViTs (SigLIP, EVA)
and the modified ResNet (RN50). Heads should not care, so each kind gets an adapter with the same five steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.precision import narrow_blocks
from clip_depth_ros.depth.stems import set_stem
from clip_depth_ros.errors import BadInput


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Interpolates patch position embeddings ``(1, N, D)`` from grid ``old`` to ``new``.

    Bicubic and not antialiased, as Hugging Face's CLIP does it; prefix tokens (CLS) in front are kept as they are.
    """
    if old == new:
        return positions
    prefix = positions.shape[1] - old[0] * old[1]
    patches = positions[:, prefix:].float().unflatten(1, old).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, new, mode="bicubic", align_corners=False)
    patches = patches.flatten(2).transpose(1, 2).to(positions.dtype)
    return torch.cat([positions[:, :prefix], patches], dim=1)


class Tower(ABC):
    """The five steps of an image tower; ``visual`` is open_clip's module and owns the weights.

    Attributes:
        width: D, channels of a hidden state.
        depth: number of blocks; hidden states are numbered 0..depth.
        prefix_tokens: tokens before the patches in a hidden state (1 for CLS, 0 for none).
        layers: the hidden states that exist.
    """

    width: int
    depth: int
    prefix_tokens: int

    def __init__(self, visual: Any, config: EncoderConfig) -> None:
        self.visual = visual
        self.config = config

    @property
    def layers(self) -> range:
        """The numbers of the hidden states this tower has."""
        return range(self.depth + 1)

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks; empty for a tower that has none."""

    def narrow(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute their products in ``dtype``; the rest, hidden states too, stays in fp32."""
        narrow_blocks(self.blocks, dtype)

    @abstractmethod
    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Returns ``hidden[0]`` ``(B, N, D)`` and its grid (rows, columns) for ``pixels`` ``(B, 3, H, W)``."""

    def block(self, index: int, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns the output of block ``index`` (0-based) for its input ``hidden``."""
        return self.through(self.blocks[index], hidden, grid)

    def through(self, block: nn.Module, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns the output of ``block``, one of this tower's kind."""
        output: Tensor = block(hidden)
        return output

    @abstractmethod
    def norm(self, hidden: Tensor) -> Tensor:
        """Applies the last normalisation to the last hidden state."""

    @abstractmethod
    def pool(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pools normalised ``tokens`` ``(B, N, D)`` to ``(B, D)``, before the projection to the joint space."""

    @abstractmethod
    def project(self, pooled: Tensor) -> Tensor | None:
        """Projects ``pooled`` to the joint image-text space, or None where the weights do not hold that part."""

    @property
    @abstractmethod
    def projects_patches(self) -> bool:
        """Whether the weights can take a single patch to the joint image-text space."""

    @abstractmethod
    def project_patches(self, hidden: Tensor) -> Tensor:
        """Takes every patch of the last hidden state ``(B, N, D)`` to the joint image-text space.

        Each goes the way of the pooled token, alone (dense CLIP features as in MaskCLIP, arXiv 2112.01071).

        Returns:
            ``(B, rows * columns, E)``, unnormalised, without prefix tokens; only where :attr:`projects_patches`.
        """

    def grid(self, pixels: Tensor, patch: tuple[int, int]) -> tuple[int, int]:
        """Returns rows and columns of patches.

        Raises:
            BadInput: the input is smaller than a patch or not a multiple of it.
        """
        height, width = pixels.shape[-2:]
        if height % patch[0] or width % patch[1] or not height or not width:
            raise BadInput(
                f"Encoder {self.config.name} cannot read {height}x{width} pixels: both sides must be multiples of "
                f"its patch {patch[0]}."
            )
        return height // patch[0], width // patch[1]


class ClipTower(Tower):
    """open_clip's own ViT, with CLIP's CLS token and ``ln_pre``."""

    prefix_tokens = 1

    def __init__(self, visual: Any, config: EncoderConfig) -> None:
        super().__init__(visual, config)
        if visual.attn_pool is not None or visual.pool_type != "tok":
            raise BadInput(
                f"Encoder {config.name} pools with {visual.pool_type!r}: only towers that pool by CLS token are "
                "supported."
            )
        self.width = visual.class_embedding.shape[0]
        self.depth = len(visual.transformer.resblocks)
        # Weights that came without the joint-space projection (a bare vision model) have none to offer.
        self.has_projection = True

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.visual.transformer.resblocks

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        visual = self.visual
        grid = self.grid(pixels, visual.patch_size)
        patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([visual.class_embedding.to(patches.dtype).expand(pixels.shape[0], 1, -1), patches], dim=1)
        positions = resize_positions(visual.positional_embedding[None], visual.grid_size, grid)
        return visual.ln_pre(tokens + positions.to(patches.dtype)), grid

    def norm(self, hidden: Tensor) -> Tensor:
        return self.visual.ln_post(hidden)

    def pool(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return tokens[:, 0]

    def project(self, pooled: Tensor) -> Tensor | None:
        return pooled @ self.visual.proj if self.has_projection else None

    @property
    def projects_patches(self) -> bool:
        return self.has_projection

    def project_patches(self, hidden: Tensor) -> Tensor:
        return self.norm(hidden[:, self.prefix_tokens :]) @ self.visual.proj


class TimmTower(Tower):
    """timm's ViTs under open_clip: SigLIP (no CLS, attention pool) and EVA (CLS, some with rotary positions)."""

    def __init__(self, visual: Any, config: EncoderConfig) -> None:
        super().__init__(visual, config)
        trunk = visual.trunk
        if not hasattr(trunk, "blocks") or not hasattr(trunk, "patch_embed"):
            raise BadInput(
                f"Encoder {config.name} is not a vision transformer: only ViT, SigLIP, EVA and RN50 towers are "
                "supported."
            )
        if getattr(trunk, "rope_mixed", False) or getattr(trunk, "reg_token", None) is not None:
            raise BadInput(
                f"Encoder {config.name} has register tokens or mixed rotary positions, which are not supported."
            )
        self.width = trunk.embed_dim
        self.depth = len(trunk.blocks)
        self.prefix_tokens = int(trunk.cls_token is not None)
        self.rope = getattr(trunk, "rope", None)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return self.visual.trunk.blocks

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        trunk = self.visual.trunk
        grid = self.grid(pixels, trunk.patch_embed.patch_size)
        # The convolution itself: timm's patch embedding refuses other sizes than the trained one.
        if self.rope is not None and getattr(self.rope, "pos_embed", None) is not None:
            native = trunk.patch_embed.grid_size
            if grid != tuple(native):
                raise BadInput(
                    f"Encoder {self.config.name} has rotary positions for {native[0]}x{native[1]} patches alone: leave "
                    "encoder.input_size at its default."
                )
        tokens = trunk.patch_embed.norm(trunk.patch_embed.proj(pixels).flatten(2).transpose(1, 2))
        if trunk.cls_token is not None:
            tokens = torch.cat([trunk.cls_token.to(tokens.dtype).expand(pixels.shape[0], -1, -1), tokens], dim=1)
        if trunk.pos_embed is not None:
            tokens = tokens + resize_positions(trunk.pos_embed, trunk.patch_embed.grid_size, grid).to(tokens.dtype)
        return trunk.norm_pre(tokens), grid

    def through(self, block: nn.Module, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.rope is None:
            return super().through(block, hidden, grid)
        output: Tensor = block(hidden, rope=self.rope.get_embed(shape=grid).to(hidden))
        return output

    def norm(self, hidden: Tensor) -> Tensor:
        return self.visual.trunk.norm(hidden)

    def pool(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.visual.trunk.forward_head(tokens, pre_logits=True)

    def project(self, pooled: Tensor) -> Tensor | None:
        return self.visual.head(self.visual.trunk.head(pooled))

    @property
    def projects_patches(self) -> bool:
        """Not where attention pools (SigLIP): what leaves that pool is no single patch any more."""
        return getattr(self.visual.trunk, "attn_pool", None) is None

    def project_patches(self, hidden: Tensor) -> Tensor:
        trunk = self.visual.trunk
        patches = trunk.fc_norm(trunk.norm(hidden)[:, self.prefix_tokens :])
        return self.visual.head(trunk.head(patches))


class ResNetTower(Tower):
    """CLIP's modified ResNet; its only hidden state is number 4, the output of the last stage, as tokens."""

    prefix_tokens = 0
    depth = 4

    def __init__(self, visual: Any, config: EncoderConfig) -> None:
        super().__init__(visual, config)
        self.width = visual.attnpool.positional_embedding.shape[1]
        self.native = (
            (visual.image_size // 32,) * 2
            if isinstance(visual.image_size, int)
            else tuple(s // 32 for s in visual.image_size)
        )

    @property
    def layers(self) -> range:
        """Only the last stage: the earlier ones have other grids and widths."""
        return range(4, 5)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return ()

    def narrow(self, dtype: torch.dtype) -> None:
        """Makes the whole of it compute in ``dtype``: a ResNet has no running sum that could stay in fp32."""
        self.visual.to(dtype)

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        grid = self.grid(pixels, (32, 32))
        return self.visual.stem(pixels), grid

    def block(self, index: int, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        hidden = getattr(self.visual, f"layer{index + 1}")(hidden)
        return hidden.flatten(2).transpose(1, 2) if index == 3 else hidden

    def norm(self, hidden: Tensor) -> Tensor:
        return hidden

    def pool(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns the attention pool's output ``(B, embed_dim)``: in a ResNet the pool is the projection too."""
        attention = self.visual.attnpool
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        positions = resize_positions(attention.positional_embedding[None], self.native, grid)
        tokens = tokens + positions.to(tokens.dtype)

        def split(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)

        pooled = F.scaled_dot_product_attention(
            split(attention.q_proj(tokens[:, :1])),
            split(attention.k_proj(tokens)),
            split(attention.v_proj(tokens)),
        )
        return attention.c_proj(pooled.transpose(1, 2).flatten(2))[:, 0]

    def project(self, pooled: Tensor) -> Tensor | None:
        return pooled

    @property
    def projects_patches(self) -> bool:
        return True

    def project_patches(self, hidden: Tensor) -> Tensor:
        """Applies the pool's value and output projections: a patch that alone is attended to, without its position."""
        attention = self.visual.attnpool
        return attention.c_proj(attention.v_proj(hidden))


def build_tower(config: EncoderConfig) -> Tower:
    """Builds the image tower of ``config`` with random weights; the text tower is never built.

    Raises:
        BadInput: the architecture is one that no adapter serves, or open_clip refuses the configuration.
    """
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    values = dict(config.vision)
    stem = values.pop("stem", "")
    try:
        vision = CLIPVisionCfg(**{**values, "timm_model_pretrained": False})
        visual = _build_vision_tower(config.embed_dim, vision, quick_gelu=config.activation == "quick_gelu")
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise BadInput(f"open_clip cannot build encoder {config.name} from its configuration: {error}.") from error
    if stem:
        set_stem(visual, stem, config)
    if config.activation != "quick_gelu":
        _set_gelu(visual, "tanh" if config.activation == "gelu_tanh" else "none")
    adapters: dict[str, Callable[[Any, EncoderConfig], Tower]] = {
        "VisionTransformer": ClipTower,
        "TimmModel": TimmTower,
        "ModifiedResNet": ResNetTower,
    }
    adapter = adapters.get(type(visual).__name__)
    if adapter is None:
        raise BadInput(
            f"Encoder {config.name} is a {type(visual).__name__}: only ViT, SigLIP, EVA and RN50 towers are supported."
        )
    return adapter(visual, config)


def _set_gelu(visual: nn.Module, approximate: str) -> None:
    for module in visual.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.GELU):
                setattr(module, name, nn.GELU(approximate=approximate))
