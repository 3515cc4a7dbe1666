"""Importing the authors' checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from networks import published_state

from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.importers.space_clip import ImportOptions, import_space_clip
from clip_depth_ros.errors import BadInput

OPTIONS = ImportOptions(valid_range=(0.001, 10.0), trained_on="nyu", heads=4)


@pytest.fixture
def official(shared_golden: Path) -> Path:
    return shared_golden / "space_clip" / "space_clip_official.pt"


@pytest.mark.parametrize("form", ["bare", "module", "old names", "new names"])
def test_every_published_form_gives_the_same_weights(official: Path, tmp_path: Path, form: str) -> None:
    state = torch.load(official, weights_only=True)["model"]
    prefix = "clip_vision_model.vision_model."
    if form == "module":
        content: object = {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    elif form == "old names":
        content = {"model": {**state, f"{prefix}embeddings.position_ids": torch.arange(17)[None]}}
    elif form == "new names":
        content = {"model": {name.replace(prefix, "clip_vision_model."): tensor for name, tensor in state.items()}}
    else:
        content = state
    torch.save(content, tmp_path / "other.pt")
    import_space_clip(official, tmp_path / "expected.safetensors", OPTIONS)
    import_space_clip(tmp_path / "other.pt", tmp_path / "other.safetensors", OPTIONS)
    expected, other = (load_checkpoint(tmp_path / f"{name}.safetensors") for name in ("expected", "other"))
    assert other.metadata.encoder_identity == expected.metadata.encoder_identity
    assert other.head.keys() == expected.head.keys()
    assert all(torch.equal(other.head[name], tensor) for name, tensor in expected.head.items())


def test_ablated_decoders_are_recognised(official: Path, tmp_path: Path) -> None:
    state = torch.load(official, weights_only=True)["model"]
    kept = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(("film_param_generators", "structural_", "aux_depth_heads"))
        and "skip_struct" not in name
    }
    for index in range(3):
        fuse = f"main_decoder_blocks.{index}.fusion_conv.0.weight"
        kept[fuse] = kept[fuse][:, : 2 * kept[fuse].shape[0]].clone()
    torch.save(kept, tmp_path / "semantic_only.pt")
    import_space_clip(tmp_path / "semantic_only.pt", tmp_path / "out.safetensors", OPTIONS)
    config = load_checkpoint(tmp_path / "out.safetensors").build_head().config_dict()
    assert (config["film"], config["structural"], config["auxiliary"]) == (False, False, False)


def test_a_full_size_checkpoint_imports_in_little_memory(shared_golden: Path, tmp_path: Path) -> None:
    state = published_state(shared_golden / "space_clip" / "official_keys_full_size.txt")
    source, target = tmp_path / "full.pt", tmp_path / "full.safetensors"
    torch.save({"model": state, "optimizer": {}, "epoch": 19}, source)
    assert source.stat().st_size > 380e6
    script = (
        "import sys; from clip_depth_ros.cli import main; from clip_depth_ros.memory import status_bytes;"
        "code = main(sys.argv[1:]); print(status_bytes('VmHWM')); sys.exit(code)"
    )
    words = ["import", "space-clip", str(source), "--range", "0.001", "80", "--trained-on", "kitti", "-o", str(target)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 2.5e9  # of this process: getrusage would tell its parent's peak, too
    checkpoint = load_checkpoint(target)
    assert (
        sum(t.numel() for name, t in checkpoint.head.items() if "running" not in name and "tracked" not in name)
        == 12_050_996
    )
    assert checkpoint.metadata.encoder.name == "ViT-B-16-quickgelu"
    assert checkpoint.metadata.encoder.vision["head_width"] == 64


class Bomb:
    def __reduce__(self):  # a pickle that runs code when it is loaded
        return (print, ("this must never run",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, good: path.write_bytes(good[: len(good) // 2]), "truncated or no PyTorch weight file"),
        (lambda path, good: path.write_bytes(b"not weights"), "no PyTorch weight file|truncated"),
        (lambda path, good: torch.save({"model": {"a": torch.ones(2)}}, path), "holds no clip_vision_model"),
        (lambda path, good: torch.save({"model": 3}, path), "holds no state dict"),
        (lambda path, good: torch.save({"model": {"x": Bomb()}}, path), "holds code instead of tensors"),
    ],
)
def test_bad_files_give_one_sentence_and_no_output(
    official: Path, tmp_path: Path, make, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "bad.pt", tmp_path / "out.safetensors"
    make(source, official.read_bytes())
    with pytest.raises(BadInput, match=message):
        import_space_clip(source, target, OPTIONS)
    words = ["import", "space-clip", str(source), "--range", "0", "10", "--trained-on", "nyu", "-o", str(target)]
    assert main(words) == 2
    printed = capfd.readouterr()
    assert "must never run" not in printed.out
    assert len(printed.err.strip().splitlines()) == 1
    assert "Traceback" not in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("depth_prediction_head.0.weight"), "holds no SPACE-CLIP decoder"),
        (lambda state: state.pop("main_decoder_blocks.2.fusion_conv.0.weight"), "is missing"),
        (lambda state: state.update({"wings.weight": torch.ones(1)}), "wings.weight is not part of it"),
        (lambda state: state.pop("clip_vision_model.vision_model.pre_layrnorm.bias"), "ln_pre.bias is missing"),
    ],
)
def test_altered_checkpoints_are_refused_by_name(official: Path, tmp_path: Path, change, message: str) -> None:
    state = dict(torch.load(official, weights_only=True)["model"])
    change(state)
    torch.save(state, tmp_path / "altered.pt")
    with pytest.raises(BadInput, match=message):
        import_space_clip(tmp_path / "altered.pt", tmp_path / "out.safetensors", OPTIONS)
    assert not (tmp_path / "out.safetensors").exists()


def test_the_command_takes_an_encoder_configuration(official: Path, tmp_path: Path, capsys) -> None:
    options, target = tmp_path / "encoder.json", tmp_path / "out.safetensors"
    words = ["import", "space-clip", str(official), "--range", "0.001", "10", "--trained-on", "nyu", "-o", str(target)]
    words += ["--encoder-config", str(options)]
    options.write_text(json.dumps({"heads": 4, "activation": "quick_gelu"}))
    assert main(words) == 0
    assert load_checkpoint(target).metadata.encoder.vision["head_width"] == 16
    for bad, message in (
        ({"heads": 5}, "5 attention heads do not divide"),
        ({"heads": 0}, "positive whole number"),
        ({"wings": 2}, "has 'wings'"),
        ({"activation": "swish"}, "must be one of gelu"),
        ({"semantic_layers": [1, 2]}, "list of 4 whole numbers"),
    ):
        options.write_text(json.dumps(bad))
        assert main(words) == 2
        assert message in capsys.readouterr().err
    words[words.index("0.001")] = "20"
    options.write_text("{}")
    assert main(words) == 2
    assert "MIN < MAX" in capsys.readouterr().err
