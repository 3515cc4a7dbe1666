"""Importing BLIP-2: LAVIS's files, Hugging Face's folders and DepthBLIP-2's MLP, against transformers' own numbers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from networks import tiny_encoder
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_depth_ros.cli import main
from clip_depth_ros.depth import heads
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder_config import OPENAI_MEAN
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.depth_blip2 import PROMPTS, DepthBlip2Head, bin_network
from clip_depth_ros.depth.heads.qformer import layer_norm
from clip_depth_ros.depth.importers.blip2 import Blip2Options, import_blip2, tokenised
from clip_depth_ros.errors import BadInput

transformers = pytest.importorskip("transformers", reason="the referee: pip install 'clip_depth_ros[test]'")

QFORMER = {
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 30523,
    "max_position_embeddings": 16,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 45,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
}
TEXT = {
    "model_type": "opt",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "ffn_dim": 16,
    "vocab_size": 60,
    "max_position_embeddings": 16,
    "word_embed_proj_dim": 16,
}
MAP = ("--map", "2", "4", "3")


@pytest.fixture(autouse=True)
def known_head(monkeypatch) -> None:
    monkeypatch.setitem(heads.HEADS, "depth_blip2", DepthBlip2Head)


def lively(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    for value in module.parameters():
        torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 0.8, 0.3)
    return module.eval()


@pytest.fixture(scope="module")
def qformer() -> torch.nn.Module:
    config = transformers.InstructBlipQFormerConfig(**QFORMER, encoder_hidden_size=32)
    return lively(transformers.InstructBlipQFormerModel(config))


@pytest.fixture(scope="module")
def lavis(qformer: torch.nn.Module) -> dict[str, Tensor]:
    """What a file of LAVIS holds for that Q-Former, unneeded parts included."""
    torch.manual_seed(1)
    state: dict[str, Tensor] = {
        "query_tokens": torch.randn(1, 5, 24),
        "ln_vision.weight": torch.rand(32),
        "ln_vision.bias": torch.rand(32),
        "Qformer.bert.embeddings.position_ids": torch.arange(16)[None],
        "Qformer.cls.predictions.bias": torch.rand(9),
        "temp": torch.tensor(0.07),
        "vision_proj.weight": torch.rand(3, 24),
        "text_proj.weight": torch.rand(3, 24),
        "itm_head.weight": torch.rand(2, 24),
    }
    for name, tensor in qformer.state_dict().items():
        name = name.replace(".attention.attention.", ".attention.self.").replace(
            "crossattention.attention.", "crossattention.self."
        )
        name = name.replace("embeddings.layernorm.", "embeddings.LayerNorm.")
        state[f"Qformer.bert.{name}"] = tensor
    return state


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    """An encoder file of this project, 32 wide and of 12 blocks."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    encoder = tiny_encoder()
    file = folder / "tower.safetensors"
    save_checkpoint(file, CheckpointMetadata(method="encoder", encoder=encoder.config), encoder=encoder)
    return file


def options(tower: Path | str = "", **changes: object) -> Blip2Options:
    return Blip2Options(encoder_weights=str(tower), map_size=(2, 4, 3), **changes)


def expected_queries(model: torch.nn.Module, queries: Tensor, image: Tensor, head: DepthBlip2Head) -> Tensor:
    """transformers' queries ``(1, K, Q, W)`` for normalised image tokens ``(1, N, D)``."""
    found = []
    for ids in head.config.token_ids:
        arguments = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, queries.shape[1] + len(ids), dtype=torch.long),
            "query_embeds": queries,
            "encoder_hidden_states": image,
        }
        found.append(model(**arguments).last_hidden_state[:, : queries.shape[1]])
    return torch.stack(found, 1)


def our_queries(head: DepthBlip2Head, hidden: Tensor) -> Tensor:
    return head.qformer(layer_norm(head.ln_vision, hidden), head.token_ids, head.token_mask)


def imported(file: Path) -> DepthBlip2Head:
    head = load_checkpoint(file).build_head()
    assert isinstance(head, DepthBlip2Head)
    return head


@torch.no_grad()
def test_a_lavis_file_gives_the_referees_numbers(qformer, lavis, tower: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "blip2_pretrained_vitL.pth", tmp_path / "head.safetensors"
    torch.save({"model": lavis, "optimizer": {"lr": 1e-4}, "epoch": 9}, source)
    import_blip2(source, target, options(tower))
    checkpoint, head = load_checkpoint(target), imported(target)
    assert head.config.layer == 11  # the output of the second-last of 12 blocks
    assert head.config.vision_norm_eps == 1e-5
    assert (head.config.qformer.heads, head.config.qformer.cross_every) == (1, 2)
    assert checkpoint.metadata.head["valid_range"] == [1.0, 3.5]  # for `clip-depth info` to show
    assert checkpoint.encoder == {}
    assert checkpoint.metadata.encoder_identity == tiny_encoder().identity()
    assert "blip2_pretrained_vitL.pth" in checkpoint.metadata.source
    assert "no picture with depth" in checkpoint.metadata.trained_on
    # A file of LAVIS does not tell the number of heads: BERT's are 64 wide. The referee has to have as many.
    one_head = transformers.InstructBlipQFormerConfig(**{**QFORMER, "num_attention_heads": 1}, encoder_hidden_size=32)
    model = transformers.InstructBlipQFormerModel(one_head).eval()
    model.load_state_dict(qformer.state_dict())
    image = torch.randn(1, 17, 32)
    normalised = torch.nn.functional.layer_norm(image, (32,), lavis["ln_vision.weight"], lavis["ln_vision.bias"], 1e-5)
    expected = expected_queries(model, lavis["query_tokens"], normalised, head)
    assert (expected[:, 0] - expected[:, 4]).abs().max() > 1e-2
    torch.testing.assert_close(our_queries(head, image), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["bare", "module", "old format"])
def test_every_form_of_a_lavis_file_gives_the_same_weights(lavis, tower: Path, tmp_path: Path, form: str) -> None:
    source = tmp_path / "file.pth"
    if form == "module":
        torch.save({"model": {f"module.{name}": tensor for name, tensor in lavis.items()}}, source)
    else:
        torch.save(lavis, source, _use_new_zipfile_serialization=form != "old format")
    plain = tmp_path / "plain.pth"
    torch.save({"model": lavis}, plain)
    for file in (source, plain):
        import_blip2(file, file.with_suffix(".safetensors"), options(tower))
    one, other = (load_checkpoint(file.with_suffix(".safetensors")).head for file in (source, plain))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def folder_of(kind: str, folder: Path, shard: str = "1GB") -> torch.nn.Module:
    """A small InstructBLIP or BLIP-2 as transformers saves it."""
    if kind == "instructblip":
        config = transformers.InstructBlipConfig(
            vision_config=dict(VISION), qformer_config=dict(QFORMER), text_config=dict(TEXT), num_query_tokens=5
        )
        model = transformers.InstructBlipForConditionalGeneration(config)
    else:
        config = transformers.Blip2Config(
            vision_config=dict(VISION),
            qformer_config={**QFORMER, "use_qformer_text_input": True},
            text_config=dict(TEXT),
            num_query_tokens=5,
        )
        model = transformers.Blip2ForImageTextRetrieval(config)
    lively(model)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


@pytest.mark.parametrize(
    ("kind", "shard"), [("instructblip", "1GB"), ("instructblip", "300KB"), ("blip2", "1GB"), ("blip2", "300KB")]
)
@torch.no_grad()
def test_a_hugging_face_folder_brings_its_tower_and_gives_the_same_numbers(
    kind: str, shard: str, tmp_path: Path
) -> None:
    folder, target = tmp_path / "folder", tmp_path / "head.safetensors"
    model = folder_of(kind, folder, shard)
    assert (folder / "model.safetensors.index.json").is_file() is (shard == "300KB")
    import_blip2(folder, target, options())
    checkpoint, head = load_checkpoint(target), imported(target)
    encoder = checkpoint.build_encoder()
    assert encoder is not None
    assert (encoder.width, encoder.depth, encoder.config.mean) == (32, 3, OPENAI_MEAN)
    assert head.config.layer == 3  # the folder leaves the tower's last block out
    assert head.config.qformer.heads == 2
    pixels = torch.randn(2, 3, 64, 64)
    features = encoder(pixels, {3}, pooled=True)
    normalised = model.vision_model(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(layer_norm(head.ln_vision, features.hidden[3]), normalised, rtol=0, atol=2e-5)
    torch.testing.assert_close(features.tokens, normalised, rtol=0, atol=2e-5)
    if kind == "instructblip":
        expected = expected_queries(model.qformer, model.query_tokens, normalised[:1], head)
    else:
        expected = []
        for ids in head.config.token_ids:
            embedded = model.embeddings(input_ids=torch.tensor([ids]), query_embeds=model.query_tokens)
            arguments = {"query_length": 5, "encoder_hidden_states": normalised[:1]}
            expected.append(model.qformer(query_embeds=embedded, **arguments).last_hidden_state[:, :5])
        expected = torch.stack(expected, 1)
    torch.testing.assert_close(our_queries(head, features.hidden[3][:1]), expected, rtol=0, atol=1e-4)
    estimator = DepthEstimator(encoder, {"depth_blip2": head}, "cpu", "fp32")
    depth = estimator(torch.randint(0, 255, (1, 50, 70, 3), dtype=torch.uint8))["depth_blip2"].depth
    assert depth.shape == (1, 50, 70)


def test_the_folders_normalisation_and_another_tower(tower: Path, tmp_path: Path) -> None:
    folder, target = tmp_path / "folder", tmp_path / "head.safetensors"
    folder_of("instructblip", folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]})
    )
    assert import_blip2(folder, target, options()).encoder.mean == (0.1, 0.2, 0.3)
    metadata = import_blip2(folder, target, options(tower))
    assert metadata.encoder.name == "tiny"
    assert load_checkpoint(target).encoder == {}
    assert imported(target).config.layer == 11


def test_the_tower_can_be_written_too_and_have_imagenets_normalisation(lavis, tower: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "file.pth", tmp_path / "head.safetensors"
    torch.save(lavis, source)
    import_blip2(source, target, options(tower, with_encoder=True))
    encoder = load_checkpoint(target).build_encoder()
    assert encoder is not None
    assert encoder.identity() == tiny_encoder().identity()
    metadata = import_blip2(source, target, options(tower, imagenet_normalisation=True))
    assert metadata.encoder.mean == (0.485, 0.456, 0.406)
    assert metadata.encoder_identity != tiny_encoder().identity()
    encoder = load_checkpoint(target).build_encoder()
    assert encoder is not None
    assert encoder.config.std == (0.229, 0.224, 0.225)


def test_open_clips_own_file_serves_as_the_tower(lavis, tmp_path: Path, monkeypatch) -> None:
    import open_clip

    vision = {"image_size": 64, "patch_size": 16, "width": 32, "layers": 12, "head_width": 16}
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: {"embed_dim": 24, "vision_cfg": vision})
    encoder, source = tiny_encoder(), tmp_path / "file.pth"
    weights = tmp_path / "open_clip_model.safetensors"
    save_file({f"visual.{name}": tensor for name, tensor in encoder.vision_tensors().items()}, weights)
    torch.save(lavis, source)
    given = options(weights, encoder_model="tiny-quickgelu")
    assert import_blip2(source, tmp_path / "head.safetensors", given).encoder.name == "tiny-quickgelu"


@torch.no_grad()
def test_the_mlp_comes_with_it(lavis, tower: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network, source, mlp = bin_network(7).eval(), tmp_path / "file.pth", tmp_path / "model_epoch_49.pth"
    torch.save(lavis, source)
    torch.save(network.state_dict(), mlp)
    words = ["import", "blip2", "--qformer", str(source), "--mlp", str(mlp), "--encoder-weights", str(tower), *MAP]
    target = tmp_path / "head.safetensors"
    assert main([*words, "--trained-on", "nyu, 16 pictures", "-o", str(target)]) == 0
    head, metadata = imported(target), load_checkpoint(target).metadata
    assert head.config.adaptive == "published"
    assert (metadata.trained_on, metadata.source) == (
        "nyu, 16 pictures",
        "imported from file.pth and model_epoch_49.pth",
    )
    bins = torch.tensor(head.config.bins)
    expected = 1.0 + torch.sigmoid(network(bins)).square() * 2.5
    hidden = torch.randn(1, 17, 32)
    seen = heads.base.EncoderFeatures({11: hidden}, (4, 4), 1)
    torch.testing.assert_close(head.distances(seen)[0], expected)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (bin_network(5).state_dict(), "is for 5 distances, but there are 7: give --bins and --prompts"),
        ({"0.weight": torch.ones(3)}, "holds no MLP of DepthBLIP-2"),
        ({"query_tokens": torch.ones(3)}, "holds no MLP of DepthBLIP-2"),
        ({**bin_network(7).state_dict(), "wings": torch.ones(1)}, "bins.wings is not part of it"),
    ],
)
def test_another_mlp_is_refused(lavis, tower: Path, tmp_path: Path, state, said: str) -> None:
    source, mlp = tmp_path / "file.pth", tmp_path / "mlp.pth"
    torch.save(lavis, source)
    torch.save(state, mlp)
    with pytest.raises(BadInput, match=said):
        import_blip2(source, tmp_path / "head.safetensors", options(tower, mlp=mlp))
    assert not (tmp_path / "head.safetensors").exists()


def test_the_command_takes_the_settings_of_the_code(lavis, tower: Path, tmp_path: Path, capsys) -> None:
    source, target, vocabulary = tmp_path / "file.pth", tmp_path / "head.safetensors", tmp_path / "vocab.txt"
    torch.save(lavis, source)
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "very", "near", "##ish", "far"]))
    words = ["import", "blip2", "--qformer", str(source), "--encoder-weights", str(tower), "-o", str(target), *MAP]
    more = ["--layout", "v2", "--layer", "7", "--range", "0.5", "9", "--bins", "1", "8", "--vocab", str(vocabulary)]
    assert main([*words, *more, "--prompts", "Very nearish", "far"]) == 0
    assert f"Wrote {target}" in capsys.readouterr().out
    config = imported(target).config
    assert config.token_ids == ((2, 5, 6, 7, 3), (2, 8, 3))
    assert config.prompts == ("Very nearish", "far")
    assert (config.layout, config.temperature, config.layer) == ("v2", 0.5, 7)
    assert (config.bins, config.range_m) == ((1.0, 8.0), (0.5, 9.0))
    assert main(["info", str(target)]) == 0
    assert "depth_blip2" in capsys.readouterr().out
    assert main([*words, "--layer", "13"]) == 2
    assert "has no hidden state 13" in capsys.readouterr().err
    assert main([*words, "--bins", "1", "2"]) == 2
    assert "7 prompts (7 of them as token ids) but 2 bins" in capsys.readouterr().err
    assert main([*words, "--range", "5", "2"]) == 2
    assert "MIN < MAX" in capsys.readouterr().err
    assert main([*words[:-6], "-o", str(tmp_path / "head.pth")]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err


def test_prompts_become_token_ids(tmp_path: Path, monkeypatch) -> None:
    assert tokenised(PROMPTS[2:0:-1], None) == (
        (101, 2023, 4874, 2003, 2485, 102),
        (101, 2023, 4874, 2003, 5186, 2485, 102),
    )
    with pytest.raises(BadInput, match="'a wall' is not one of the published ones: give --vocab"):
        tokenised(("a wall",), None)
    with pytest.raises(BadInput, match=r"no\.txt does not exist"):
        tokenised(("a wall",), tmp_path / "no.txt")
    for text in ("wall\n", ""):
        (tmp_path / "vocab.txt").write_text(text)
        with pytest.raises(BadInput, match="is no vocabulary of BERT"):
            tokenised(("a wall",), tmp_path / "vocab.txt")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BadInput, match="install the extra blip2"):
        tokenised(("a wall",), tmp_path / "vocab.txt")


class Bomb:
    def __reduce__(self):  # a pickle that runs code when it is loaded
        return (print, ("this must never run",))


def _without(state: dict[str, Tensor], pattern: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path, state: path.write_bytes(b"not weights"), "no PyTorch weight file|truncated"),
        (lambda path, state: torch.save({"model": {"x": Bomb()}}, path), "holds code instead of tensors"),
        (lambda path, state: torch.save({"model": 3}, path), "holds no state dict"),
        (lambda path, state: torch.save({"a": torch.ones(2)}, path), "holds no query_tokens"),
        (lambda path, state: torch.save(_without(state, r"encoder\.layer\.0"), path), "holds no whole Q-Former"),
        (lambda path, state: torch.save(_without(state, r"layer\.3\.attention\.self\.key"), path), "attention.qkv"),
        (lambda path, state: torch.save(_without(state, "ln_vision.bias"), path), "ln_vision.bias is missing"),
        (
            lambda path, state: torch.save({**state, "Qformer.bert.wings": torch.ones(1)}, path),
            "qformer.wings is not part of it",
        ),
        # What LAVIS keeps of a Q-Former that was trained without text.
        (
            lambda path, state: torch.save(
                _without(state, r"word_emb|position_emb|\.(intermediate|output)\.dense|layer\.\d+\.output\."), path
            ),
            r"comes without its text weights: LAVIS's blip2_pretrained_vitL\.pth and blip2_pretrained\.pth have them",
        ),
        (lambda path, state: None, "does not exist"),
    ],
)
def test_bad_files_give_one_sentence_and_no_output(
    lavis, tower: Path, tmp_path: Path, make, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    source, target = folder / "bad.pth", folder / "out.safetensors"
    make(source, lavis)
    _refused(source, target, ["--encoder-weights", str(tower)], said, capfd)
    assert {path.name for path in folder.iterdir()} <= {"bad.pth"}


def test_a_truncated_file_is_refused(lavis, tower: Path, tmp_path: Path, capfd) -> None:
    source = tmp_path / "bad.pth"
    torch.save(lavis, source)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    _refused(source, tmp_path / "out.safetensors", ["--encoder-weights", str(tower)], "truncated or no PyTorch", capfd)


def _refused(source: Path, target: Path, more: list[str], said: str, capfd) -> None:
    capfd.readouterr()  # transformers shows a progress bar
    assert main(["import", "blip2", "--qformer", str(source), "-o", str(target), *MAP, *more]) == 2
    printed = capfd.readouterr()
    assert "must never run" not in printed.out
    assert len(printed.err.strip().splitlines()) == 1
    assert re.search(said, printed.err), printed.err
    assert not target.exists()


def _shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _rename(folder: Path, prefix: str, new: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name.replace(prefix, new): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


def _drop(folder: Path, pattern: str) -> None:
    save_file(_without(load_file(folder / "model.safetensors"), pattern), folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: _shorten(folder / "model.safetensors"), "no safetensors file, or it is truncated"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors and no model"),
        (lambda folder: (folder / "config.json").unlink(), "config.json cannot be read as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is no JSON object"),
        (lambda folder: (folder / "config.json").write_text("{}"), "has no qformer_config"),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), "has no weight_map"),
        (
            lambda folder: (folder / "model.safetensors.index.json").write_text(
                json.dumps({"weight_map": {"query_tokens": "model-00001.safetensors"}})
            ),
            "does not exist, though the index beside it names it",
        ),
        (lambda folder: _rename(folder, "query_tokens", "other"), "holds no query_tokens"),
        (lambda folder: _drop(folder, r"qformer\.embeddings"), "comes without its text weights"),
        (
            lambda folder: _drop(folder, "class_embedding"),
            "is not BLIP-2's .*give --encoder-model and --encoder-weights",
        ),
        (lambda folder: _drop(folder, r"vision_model\.(?!post)"), "is not BLIP-2's"),
        (lambda folder: _drop(folder, r"layers\.1\.mlp\.fc1\.bias"), "is missing"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"image_mean": [1]}'),
            "three values of image_mean",
        ),
    ],
)
def test_bad_folders_give_one_sentence_and_no_output(tmp_path: Path, change, said: str, capfd) -> None:
    folder = tmp_path / "folder"
    folder_of("instructblip", folder)
    change(folder)
    _refused(folder, tmp_path / "out.safetensors", [], said, capfd)


def test_towers_that_do_not_fit_are_refused(lavis, tower: Path, tmp_path: Path, capfd) -> None:
    source, target = tmp_path / "file.pth", tmp_path / "out.safetensors"
    torch.save(lavis, source)
    _refused(source, target, [], "leaves its image tower out, which is 32 wide: give --encoder-model and", capfd)
    _refused(source, target, ["--encoder-model", "ViT-B-16"], "give --encoder-weights of it", capfd)
    _refused(source, target, ["--encoder-weights", "no.safetensors"], "no.safetensors of --encoder-weights", capfd)
    wide = {
        name: torch.rand(24, 40) if re.search(r"crossattention\.self\.(key|value)\.weight", name) else tensor
        for name, tensor in lavis.items()
    }
    torch.save({**wide, "ln_vision.weight": torch.rand(40), "ln_vision.bias": torch.rand(40)}, source)
    said = "reads image tokens 40 wide, but those of encoder tiny are 32 wide"
    _refused(source, target, ["--encoder-weights", str(tower)], said, capfd)
    torch.save(lavis, source)
    head = tmp_path / "head.safetensors"
    import_blip2(source, head, options(tower))
    _refused(source, target, ["--encoder-weights", str(head)], "holds no encoder", capfd)
