"""The one frozen image encoder that every head reads.

Hidden states are numbered as in SPACE-CLIP (arXiv 2601.17657): ``hidden[0]`` is the embedding after the position
embedding (and CLIP's ``ln_pre``), ``hidden[i]`` the output of block i, without the last LayerNorm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.towers import ClipTower, build_tower
from clip_depth_ros.errors import BadInput

# Names of the projection to the joint image-text space. No hidden state depends on it and bare vision models come
# without it, so it is not part of an encoder's identity.
_PROJECTION = ("proj", "trunk.head.", "head.")


@dataclass(frozen=True)
class EncoderFeatures:
    """What one encode of a batch gives to the heads; never carries gradients outside training.

    Attributes:
        hidden: the hidden states asked for, by number, each ``(B, N, D)``; CLS first where the tower has one.
        grid: rows and columns of the patch grid; N = rows * columns + ``prefix_tokens``.
        prefix_tokens: tokens in front of the patches (1 with CLS, 0 without).
        pooled: ``(B, D)`` after the last LayerNorm, before the projection; None unless asked for.
        tokens: ``(B, N, D)`` last hidden state after the last LayerNorm; None unless ``pooled`` was asked for.
        embedding: ``(B, E)`` projected, unnormalised image embedding; None where the weights hold no projection.
        blocks: the tower's blocks as callables ``(B, N, D) -> (B, N, D)``, for heads that re-enter the trunk; they
            compute in the encoder's dtype, take any and return what they took. Gradients flow through them.
        project: takes the last hidden state ``(B, N, D)``, of any dtype, to the patches' features in the joint
            image-text space ``(B, rows * columns, E)`` in the encoder's dtype; None where the weights cannot. Nothing
            is computed before a head calls it.
    """

    hidden: Mapping[int, Tensor]
    grid: tuple[int, int]
    prefix_tokens: int
    pooled: Tensor | None = None
    tokens: Tensor | None = None
    embedding: Tensor | None = None
    blocks: tuple[Callable[[Tensor], Tensor], ...] = ()
    project: Callable[[Tensor], Tensor] | None = None

    def patch_map(self, layer: int) -> Tensor:
        """Returns hidden state ``layer`` without its prefix tokens, as a map ``(B, D, rows, columns)``."""
        patches = self.hidden[layer][:, self.prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, self.grid)

    def part(self, members: slice) -> EncoderFeatures:
        """Returns the features of some of the batch's images, without a copy."""
        return self._mapped(lambda value: value[members])

    def to(self, dtype: torch.dtype) -> EncoderFeatures:
        """Returns the features as ``dtype``; itself where they are already."""
        tensors = [*self.hidden.values(), *(value for value in (self.pooled,) if value is not None)]
        return self if all(value.dtype == dtype for value in tensors) else self._mapped(lambda value: value.to(dtype))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> EncoderFeatures:
        def apply(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        return replace(
            self,
            hidden={layer: change(value) for layer, value in self.hidden.items()},
            pooled=apply(self.pooled),
            tokens=apply(self.tokens),
            embedding=apply(self.embedding),
        )


class SharedEncoder(nn.Module):
    """A frozen image tower of open_clip: CLIP ViTs, SigLIP, EVA, or RN50.

    ``visual`` is open_clip's own module, so its state dict has open_clip's names.
    """

    def __init__(self, config: EncoderConfig) -> None:
        """Builds the tower with random weights.

        Raises:
            BadInput: no supported tower can be built from ``config``.
        """
        super().__init__()
        self.config = config
        self.tower = build_tower(config)
        self.visual: nn.Module = self.tower.visual
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_open_clip(cls, name: str, pretrained: str = "") -> SharedEncoder:
        """Builds ``name`` with the weights of an open_clip tag, or of a local safetensors file.

        Args:
            name: open_clip's model name, for example ``ViT-B-16-quickgelu``.
            pretrained: empty for random weights; a path that ends in ``.safetensors``; else a tag, such as
                ``openai``, which open_clip may download.

        Raises:
            BadInput: unknown model or tag, weights that do not fit, or a download that failed.
        """
        if pretrained.endswith(".safetensors"):
            from clip_depth_ros.depth.checkpoint import read_vision_tensors

            encoder = cls(EncoderConfig.from_open_clip(name))
            encoder.load_vision(read_vision_tensors(Path(pretrained)), pretrained)
            return encoder
        encoder = cls(EncoderConfig.from_open_clip(name, pretrained))
        if pretrained:
            encoder.load_vision(_download(name, pretrained), f"{name}/{pretrained}")
        return encoder

    @property
    def width(self) -> int:
        """D, the channels of a hidden state."""
        return self.tower.width

    @property
    def depth(self) -> int:
        """The number of blocks, and of the last hidden state."""
        return self.tower.depth

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of pictures and hidden states; a narrowed tower's products are in another one."""
        return next(self.visual.parameters()).dtype

    def narrow(self, dtype: torch.dtype) -> None:
        """Makes the blocks compute in ``dtype`` (bf16), in place; see :mod:`clip_depth_ros.depth.precision`."""
        self.tower.narrow(dtype)

    def load_vision(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Loads vision tensors under open_clip's names; ``source`` is named in errors.

        Raises:
            BadInput: a tensor is missing, unknown or of another shape.
        """
        expected = self.visual.state_dict()
        tensors = dict(tensors)
        if isinstance(self.tower, ClipTower) and "proj" not in tensors:
            self.tower.has_projection = False
            tensors["proj"] = torch.zeros_like(expected["proj"])
        check_tensors(tensors, expected, f"{source} does not hold the weights of encoder {self.config.name}")
        self.visual.load_state_dict(tensors)

    def vision_tensors(self) -> dict[str, Tensor]:
        """Returns the tower's tensors under open_clip's names; without the projection where it was never loaded."""
        tensors = self.visual.state_dict()
        if isinstance(self.tower, ClipTower) and not self.tower.has_projection:
            del tensors["proj"]
        return tensors

    def identity(self) -> str:
        """Returns the SHA-256 (hex) of what the hidden states depend on.

        Taken over the vision tensors in fp32 under open_clip's names, sorted, then activation and normalisation.
        The projection to the joint space is left out: no hidden state depends on it.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.visual.state_dict().items()):
            if not name.startswith(_PROJECTION):
                digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        config = self.config
        digest.update(json.dumps([config.activation, list(config.mean), list(config.std)]).encode())
        return digest.hexdigest()

    @torch.no_grad()
    def forward(self, pixels: Tensor, layers: Collection[int], pooled: bool = False) -> EncoderFeatures:
        """Encodes once, without gradients; see :meth:`encode`."""
        return self.encode(pixels, layers, pooled)

    def encode(self, pixels: Tensor, layers: Collection[int], pooled: bool = False) -> EncoderFeatures:
        """Runs the tower up to the last block somebody needs.

        Args:
            pixels: ``(B, 3, H, W)`` normalised; H and W multiples of the patch, any such size (positions are
                interpolated when it is not the trained one).
            layers: numbers of the hidden states to keep.
            pooled: also compute ``pooled``, ``tokens`` and ``embedding``, which need every block.

        Raises:
            BadInput: a layer the tower does not have, or a size that is no multiple of the patch.
        """
        wanted = set(layers)
        missing = wanted - set(self.tower.layers)
        if missing:
            raise BadInput(
                f"Encoder {self.config.name} has no hidden state {sorted(missing)}: it has "
                f"{min(self.tower.layers)} to {self.depth}."
            )
        state, grid = self.tower.embed(pixels)
        hidden = {0: state} if 0 in wanted else {}
        for index in range(self.depth if pooled else max(wanted, default=0)):
            state = self.tower.block(index, state, grid)
            if index + 1 in wanted:
                hidden[index + 1] = state
        features = EncoderFeatures(
            hidden,
            grid,
            self.tower.prefix_tokens,
            blocks=tuple(partial(self._block, index, grid) for index in range(self.depth)),
            project=self._project_patches if self.tower.projects_patches else None,
        )
        if not pooled:
            return features
        tokens = self.tower.norm(state)
        summary = self.tower.pool(tokens, grid)
        return replace(features, tokens=tokens, pooled=summary, embedding=self.tower.project(summary))

    def _block(self, index: int, grid: tuple[int, int], hidden: Tensor) -> Tensor:
        return self.tower.block(index, hidden.to(self.dtype), grid).to(hidden.dtype)

    def _project_patches(self, hidden: Tensor) -> Tensor:
        return self.tower.project_patches(hidden.to(self.dtype))


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Checks that ``tensors`` has exactly the names and shapes of ``expected``.

    Raises:
        BadInput: ``what`` followed by the first difference.
    """
    for name in expected.keys() - tensors.keys():
        raise BadInput(f"{what}: {name} is missing.")
    for name in tensors.keys() - expected.keys():
        raise BadInput(f"{what}: {name} is not part of it.")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise BadInput(f"{what}: {name} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}.")


def _download(name: str, tag: str) -> dict[str, Tensor]:
    import open_clip

    if tag not in open_clip.list_pretrained_tags_by_model(name):
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise BadInput(f"open_clip has no weights {tag!r} for {name}: known tags are {known}.")
    try:
        model = open_clip.create_model(name, pretrained=tag)
    except Exception as error:  # the hub client raises many kinds, all of which mean the same to the user
        raise BadInput(
            f"The weights {tag!r} of {name} could not be downloaded ({type(error).__name__}): check the network, "
            "or give a local .safetensors file."
        ) from error
    return model.visual.state_dict()
