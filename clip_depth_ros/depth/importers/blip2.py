"""Imports BLIP-2's Q-Former, and the MLP of DepthBLIP-2, as a DepthBLIP-2 head.

The Q-Former comes from a file of LAVIS (``blip2_pretrained_vitL.pth`` and those for EVA-g), which leaves the frozen
image tower out, or from a Hugging Face folder of InstructBLIP or BLIP-2, which holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, read_metadata, save_checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder, check_tensors
from clip_depth_ros.depth.heads.depth_blip2 import BINS, PROMPTS, TOKEN_IDS, DepthBlip2Config, DepthBlip2Head
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.importers.blip2_files import Blip2File, read_blip2, read_mlp
from clip_depth_ros.depth.importers.blip2_names import qformer_tensors
from clip_depth_ros.depth.importers.blip2_tower import brought_tower
from clip_depth_ros.errors import BadInput

_FILES_WITH_TEXT = (
    "LAVIS's blip2_pretrained_vitL.pth and blip2_pretrained.pth have them, and so have the Hugging Face folders of "
    "InstructBLIP and blip2-itm-vit-g"
)

# The towers that BLIP-2 was trained on, by width, as open_clip has them.
_TOWERS = {1024: ("ViT-L-14-quickgelu", "openai"), 1408: ("EVA01-g-14", "laion400m_s11b_b41k")}


@dataclass(frozen=True)
class Blip2Options:
    """What the files do not say; the defaults are the paper's.

    Attributes:
        mlp: DepthBLIP-2's MLP for adaptive distances; None for fixed ones.
        encoder_model: open_clip's name of the image tower; empty for the one BLIP-2 was trained on.
        encoder_weights: a tag of open_clip, or a ``.safetensors`` file; likewise.
        with_encoder: put the tower into the output; one that a Hugging Face folder brings along always is.
        imagenet_normalisation: give the tower ImageNet's mean and deviation, and put it into the output.
        layer: the hidden state to read; None for the second-last block's output.
        prompts: K sentences.
        vocabulary: ``vocab.txt`` of BERT uncased, for other prompts than the published ones.
        bins: K distances, metres.
        map_size: rows, columns and channels of a prompt's map.
        layout: ``v1`` or ``v2``.
        temperature: None for 0.05 in layout v1 and 0.5 in v2.
        valid_range: (nearest, farthest) metres; None for the smallest and largest distance.
        trained_on: the training data, in words; empty for what is known of the files.
    """

    mlp: Path | None = None
    encoder_model: str = ""
    encoder_weights: str = ""
    with_encoder: bool = False
    imagenet_normalisation: bool = False
    layer: int | None = None
    prompts: tuple[str, ...] = PROMPTS
    vocabulary: Path | None = None
    bins: tuple[float, ...] = BINS
    map_size: tuple[int, int, int] = (16, 16, 3)
    layout: str = "v1"
    temperature: float | None = None
    valid_range: tuple[float, float] | None = None
    trained_on: str = ""


def import_blip2(source: Path, target: Path, options: Blip2Options) -> CheckpointMetadata:
    """Makes a DepthBLIP-2 head ``target`` of BLIP-2's file or folder ``source``.

    Raises:
        BadInput: files that are missing, damaged or something else, or options that do not fit them. Nothing is
            written.
    """
    file = read_blip2(source)
    tensors = qformer_tensors(file.tensors)
    mlp = {} if options.mlp is None else read_mlp(options.mlp)
    config = _config(file, tensors, mlp, source, options)  # refuses what it can before the tower is read or downloaded
    encoder = _encoder(file, source, config.qformer.image_width, options)
    brought = bool(file.vision) and not (options.encoder_model or options.encoder_weights)
    # BLIP-2's own folders leave the tower's last block out.
    layer = options.layer if options.layer is not None else encoder.depth - (0 if brought else 1)
    if layer not in encoder.tower.layers:
        raise BadInput(f"Encoder {encoder.config.name} has no hidden state {layer}: it has 0 to {encoder.depth}.")
    head = _build_head(replace(config, layer=layer), tensors, mlp, source)
    metadata = CheckpointMetadata(
        method=head.method,
        encoder=encoder.config,
        encoder_identity=encoder.identity(),
        trained_on=options.trained_on or _known_training(options),
        licence="as the imported files'",
        source=f"imported from {source.name}" + (f" and {options.mlp.name}" if options.mlp else ""),
    )
    kept = brought or options.with_encoder or options.imagenet_normalisation
    save_checkpoint(target, metadata, head, encoder if kept else None)
    return metadata


def default_temperature(layout: str) -> float:
    """Returns what the published code divides the maps of a layout by (v2's on NYU)."""
    return 0.5 if layout == "v2" else 0.05


def tokenised(prompts: Sequence[str], vocabulary: Path | None) -> tuple[tuple[int, ...], ...]:
    """Returns BERT uncased's token ids of each prompt, from [CLS] to [SEP].

    Args:
        prompts: sentences.
        vocabulary: BERT's ``vocab.txt``; not needed for the published prompts.

    Raises:
        BadInput: other prompts without a vocabulary, one that is none, or no tokenizer library.
    """
    published = dict(zip(PROMPTS, TOKEN_IDS))
    if vocabulary is None:
        unknown = next((prompt for prompt in prompts if prompt not in published), None)
        if unknown is not None:
            raise BadInput(
                f"The prompt {unknown!r} is not one of the published ones: give --vocab, the vocab.txt of BERT uncased."
            )
        return tuple(published[prompt] for prompt in prompts)
    try:
        from tokenizers import BertWordPieceTokenizer
    except ImportError as error:
        raise BadInput("Other prompts need the tokenizers library: install the extra blip2 of this package.") from error
    if not vocabulary.is_file():
        raise BadInput(f"The vocabulary {vocabulary} does not exist: give the vocab.txt of BERT uncased.")
    try:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        encoded = [tuple(tokenizer.encode(prompt).ids) for prompt in prompts]
    except Exception as error:  # the library raises bare Exception and TypeError for a file that is no vocabulary
        raise BadInput(
            f"{vocabulary} is no vocabulary of BERT: it has a token on each line, [CLS] among them."
        ) from error
    return tuple(encoded)


def _config(
    file: Blip2File,
    tensors: Mapping[str, Tensor],
    mlp: Mapping[str, Tensor],
    source: Path,
    options: Blip2Options,
) -> DepthBlip2Config:
    """Returns the head's configuration, its layer still to be set."""
    bins = len(options.bins)
    if mlp and (mlp["0.weight"].shape[1], mlp["12.weight"].shape[0]) != (bins, bins):
        raise BadInput(
            f"The MLP in {options.mlp} is for {mlp['0.weight'].shape[1]} distances, but there are {bins}: give --bins "
            "and --prompts, one for each of them."
        )
    return DepthBlip2Config(
        prompts=options.prompts,
        token_ids=tokenised(options.prompts, options.vocabulary),
        bins=options.bins,
        adaptive="published" if mlp else "fixed",
        map_size=options.map_size,
        layout=options.layout,
        temperature=options.temperature if options.temperature is not None else default_temperature(options.layout),
        vision_norm_eps=file.vision_norm_eps,
        valid_range=options.valid_range or (min(options.bins), max(options.bins)),
        qformer=_sizes(tensors, source, file),
    )


def _sizes(tensors: Mapping[str, Tensor], source: Path, file: Blip2File) -> QFormerConfig:
    """Reads the sizes off the tensors' shapes."""
    try:
        queries, width = tensors["query_tokens"].shape
        hidden = tensors["layers.0.query_feed_forward.expand.weight"].shape[0]
        image_width = tensors["layers.0.cross_attention.key_value.weight"].shape[1]
    except (KeyError, ValueError) as error:
        raise BadInput(f"{source} holds no whole Q-Former ({error} is missing): download it again.") from error
    text = ("word_embeddings.weight", "position_embeddings.weight", "layers.0.text_feed_forward.expand.weight")
    if not all(name in tensors for name in text):
        raise BadInput(f"The Q-Former in {source} comes without its text weights: {_FILES_WITH_TEXT}.")
    layers = {int(name.split(".")[1]) for name in tensors if name.startswith("layers.")}
    looking = sorted(index for index in layers if f"layers.{index}.cross_attention.key_value.weight" in tensors)
    return QFormerConfig(
        width=width,
        layers=max(layers) + 1,
        heads=file.heads or max(1, width // 64),
        hidden=hidden,
        queries=queries,
        image_width=image_width,
        cross_every=looking[1] if len(looking) > 1 else max(layers) + 1,
        vocabulary=tensors["word_embeddings.weight"].shape[0],
        positions=tensors["position_embeddings.weight"].shape[0],
        norm_eps=file.norm_eps,
    )


def _encoder(file: Blip2File, source: Path, width: int, options: Blip2Options) -> SharedEncoder:
    """Returns the image tower: what the options say, what the folder holds, or what BLIP-2 was trained on."""
    model, weights = options.encoder_model, options.encoder_weights
    if file.vision and not (model or weights):
        encoder = brought_tower(file, source)
    else:
        encoder = _given_tower(model, weights, width, source)
    if encoder.width != width:
        raise BadInput(
            f"The Q-Former in {source} reads image tokens {width} wide, but those of encoder {encoder.config.name} are "
            f"{encoder.width} wide: give --encoder-model and --encoder-weights of the tower it was trained on."
        )
    if options.imagenet_normalisation:
        encoder.config = encoder.config.normalised("imagenet")
    return encoder


def _given_tower(model: str, weights: str, width: int, source: Path) -> SharedEncoder:
    path = Path(weights)
    if path.suffix == ".safetensors" and not model and _is_ours(path):
        encoder = load_checkpoint(path).build_encoder()
        if encoder is None:
            raise BadInput(f"{path} holds no encoder: give the file that does, as `clip-depth info` shows.")
        return encoder
    usual_model, usual_weights = _TOWERS.get(width, ("", ""))
    if not (model or usual_model) or not (weights or model in ("", usual_model)):
        missing = "--encoder-weights of it" if model else "--encoder-model and --encoder-weights"
        raise BadInput(f"{source} leaves its image tower out, which is {width} wide: give {missing}.")
    return SharedEncoder.from_open_clip(model or usual_model, weights or usual_weights)


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        raise BadInput(f"The file {path} of --encoder-weights does not exist.")
    try:
        read_metadata(path)
    except BadInput:  # open_clip's own, which from_open_clip reads, or something that it refuses
        return False
    return True


def _build_head(
    config: DepthBlip2Config, tensors: Mapping[str, Tensor], mlp: Mapping[str, Tensor], source: Path
) -> DepthBlip2Head:
    head = DepthBlip2Head(config)
    named = {name if name.startswith("ln_vision.") else f"qformer.{name}": value for name, value in tensors.items()}
    named |= {f"bins.{name}": value for name, value in mlp.items()}
    check_tensors(named, head.state_dict(), f"{source} does not hold a Q-Former this version knows")
    head.load_state_dict(named)
    return head.eval()


def _known_training(options: Blip2Options) -> str:
    if options.mlp is not None:
        return f"BLIP-2's images and captions; the distances as {options.mlp.name} learnt them, on unknown pictures"
    return "BLIP-2's images and captions alone; no picture with depth (fixed distances)"
