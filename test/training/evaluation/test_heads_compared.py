"""Several heads on one encode: the figures each has alone, in one table, and whose figures a weight file may record."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from measuring import as_the_node, by_numpy, refusal, report, row
from networks import TINY, tiny_encoder, tiny_head
from tiny_open_clip import VIT, register, register_tag, save_model

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.evaluation.measurement import predict
from clip_depth_training.evaluation.protocols import Protocol
from clip_depth_training.evaluation.stored import read_report
from clip_depth_training.evaluation.weights import find_heads, tensors_hash

TRIVIAL = ["constant (of this very data)", "row means (of this very data)"]


def card(encoder, **changes):
    values = {"method": "encoder", "encoder": encoder.config, "encoder_identity": encoder.identity()}
    return CheckpointMetadata(**{**values, "trained_on": "nothing", **changes})


def zero_shot_head(encoder, seed=2):
    prompts = torch.randn(7, encoder.config.embed_dim, generator=torch.Generator().manual_seed(seed))
    return DepthClipHead.from_prompts(DepthClipConfig.for_encoder(encoder, temperature=5.0), prompts)


@pytest.fixture(scope="module")
def other_heads(tmp_path_factory):
    """A MoA-DepthCLIP head for 0.5 to 4 m and a DepthCLIP head for 1 to 3 m, on the encoder of ``weights``."""
    folder, encoder = tmp_path_factory.mktemp("other_heads"), tiny_encoder()
    torch.manual_seed(3)
    sizes = {"bottleneck": 4, "gate_hidden": 8, "context_width": 6, "bins": 16}
    moa = MoaDepthClipHead(MoaDepthClipConfig(TINY, **sizes, bin_range=(0.5, 4.0), valid_range=(0.5, 4.0)))
    moa.copy_tuned_blocks(encoder)
    torch.nn.init.normal_(moa.classification.weight, 0, 0.4)
    files = {"moa_depth_clip": folder / "moa.safetensors", "depth_clip": folder / "words.safetensors"}
    save_checkpoint(files["moa_depth_clip"], card(encoder, source="recipe moa"), moa.eval())
    save_checkpoint(files["depth_clip"], card(encoder, source="words"), zero_shot_head(encoder))
    return {method: str(file) for method, file in files.items()}


@pytest.mark.parametrize("flip", [False, True])
def test_every_head_has_the_figures_of_the_node_with_it_alone(weights, other_heads, folder, tmp_path, flip):
    files = (*weights, *other_heads.values())
    found, _ = report(tmp_path, *files, "--data", folder, *(["--flip"] if flip else []))
    heads = ["space_clip", "moa_depth_clip", "depth_clip"]
    assert [entry["predictor"] for entry in found["rows"][::2]] == [*heads, *TRIVIAL]
    for head in heads:
        predictions, truths = as_the_node(files, folder, flip=flip, head=head)
        masks = [(truth > 1) & (truth < 3) for truth in truths]
        for scaling in ("metric", "median-scaled"):
            expected = by_numpy(predictions, truths, masks, 1, 3, scaling == "median-scaled")
            for name in NAMES:
                assert row(found, head, scaling)[name] == pytest.approx(expected[name], rel=1e-4), (head, name)
    errors = {row(found, head, "metric")["abs_rel"] for head in heads}
    assert len(errors) == 3


def test_the_encoder_s_input_can_be_the_published_one(weights, other_heads, folder, tmp_path):
    files = (weights[0], other_heads["depth_clip"])
    options = ("--input-size", "96x64", "--normalisation", "imagenet")
    found, text = report(tmp_path, *files, "--data", folder, *options)
    settings = {"encoder_input_size": (96, 64), "encoder_normalisation": "imagenet"}
    predictions, truths = as_the_node(files, folder, head="depth_clip", **settings)
    expected = by_numpy(predictions, truths, [(truth > 1) & (truth < 3) for truth in truths], 1, 3, False)
    plain, _ = report(tmp_path, *files, "--data", folder)
    for name in NAMES:
        assert row(found, "depth_clip", "metric")[name] == pytest.approx(expected[name], rel=1e-4), name
    assert row(plain, "depth_clip", "metric")["abs_rel"] != pytest.approx(expected["abs_rel"], rel=1e-4)
    assert "encoder input 96x64 normalised as imagenet" in text


def test_all_heads_read_one_encode(weights, other_heads, folder):
    config = EstimatorConfig(
        ("space_clip", *other_heads), (*weights, *other_heads.values()), device="cpu", precision="fp32"
    )
    estimator = DepthEstimator.from_settings(config)
    encodes = []
    estimator.encoder.register_forward_hook(lambda *_: encodes.append(1))
    samples = [open_data_set(folder).sample(number) for number in (0, 1)]
    plain = predict(estimator, samples, Protocol((0.1, 10.0)))
    assert len(encodes) == 1
    averaged = predict(estimator, samples, Protocol((0.1, 10.0), flip=True))
    assert len(encodes) == 3
    assert list(plain) == list(averaged) == ["space_clip", *other_heads]
    for head in plain:
        assert plain[head].shape == (2, 48, 64)
        assert not torch.allclose(plain[head], averaged[head])


def test_heads_are_in_the_order_given_and_head_restricts_them(weights, other_heads, folder, tmp_path):
    encoder, space = weights
    moa = other_heads["moa_depth_clip"]

    def measured(*words):
        found, _ = report(tmp_path, *words, "--data", folder, "--range", 1, 3)
        return [head["method"] for head in found["heads"]], [entry["predictor"] for entry in found["rows"][::2]]

    assert measured(moa, space, encoder)[0] == ["moa_depth_clip", "space_clip"]
    options = ("--head", "depth_clip", "--head", "space_clip")
    methods, predictors = measured(encoder, space, *other_heads.values(), *options)
    assert methods == ["depth_clip", "space_clip"]
    assert predictors == [*methods, *TRIVIAL]
    methods, predictors = measured(encoder, space, *other_heads.values(), "--head", "moa_depth_clip")
    assert predictors == ["moa_depth_clip", *TRIVIAL]
    twice = [Path(space), Path(space), Path(moa)]
    assert find_heads(twice, ["moa_depth_clip"]) == {"moa_depth_clip": Path(moa)}
    with pytest.raises(BadInput, match="space_clip, space_clip, moa_depth_clip; give the file of one head space_clip"):
        find_heads(twice)


def test_the_range_is_common_to_all_heads_and_said(weights, other_heads, folder, tmp_path):
    moa = other_heads["moa_depth_clip"]
    found, text = report(tmp_path, *weights, moa, "--data", folder)
    assert {tuple(entry["depth_range_m"]) for entry in found["rows"]} == {(0.5, 4.0)}
    assert "no flip averaging, 0.5 to 4 m" in text
    assert "; for 0.001 to 10 m" in text
    assert "; for 0.5 to 4 m" in text
    found, text = report(tmp_path, *weights, moa, "--data", folder, "--range", 0.2, 8)
    assert {tuple(entry["depth_range_m"]) for entry in found["rows"]} == {(0.2, 8.0)}
    assert "no flip averaging, 0.2 to 8 m" in text


def test_every_head_names_its_own_weights(weights, other_heads, folder, tmp_path):
    moa = other_heads["moa_depth_clip"]
    found, text = report(tmp_path, *weights, moa, "--data", folder)
    assert "weights" not in found  # a reader that knows of one head only must not take these rows for its own
    files = {"space_clip": weights[1], "moa_depth_clip": moa}
    hashes = {method: hashlib.sha256(Path(file).read_bytes()).hexdigest() for method, file in files.items()}
    for head in found["heads"]:
        method = head["method"]
        assert head["file"] == Path(files[method]).name
        assert head["weights_sha256"] == hashes[method]
        assert head["head_tensors"] == tensors_hash(load_checkpoint(Path(files[method])).head)
        assert head["source"] == {"space_clip": "recipe random", "moa_depth_clip": "recipe moa"}[method]
        assert f"- weights of {method}: {head['file']}, SHA-256 {hashes[method][:12]}, source recipe" in text
        assert row(found, method, "metric")["weights_sha256"] == hashes[method]
        assert row(found, method, "metric")["method"] == method
    for entry in found["rows"]:
        assert entry["encoder_identity"] == tiny_encoder().identity()
        if entry["trivial"]:
            assert entry["weights_sha256"] is None
            assert entry["method"] is None
    assert text.startswith("# Depth of space_clip, moa_depth_clip, measured\n")
    assert text.count("| constant (of this very data) |") == 2  # metric and median-scaled
    assert [(entry["predictor"], entry["scaling"]) for entry in found["verdicts"]] == [
        (head, scaling) for scaling in ("metric", "median-scaled") for head in files
    ]
    for verdict in found["verdicts"]:
        assert f"- office, {verdict['scaling']}, {verdict['predictor']}: {verdict['text']}." in text
        mine = row(found, verdict["predictor"], verdict["scaling"])
        constant = row(found, TRIVIAL[0], verdict["scaling"])
        better = mine["abs_rel"] < constant["abs_rel"] and mine["a1"] > constant["a1"]
        assert verdict["beats_constant"] is better


@pytest.fixture
def clip_model(monkeypatch, tmp_path):
    """A small CLIP that open_clip knows, with both towers in a file, and a trained head's file for it."""
    register(monkeypatch, "tiny-vit", VIT)
    model = save_model(tmp_path / "clip.safetensors", "tiny-vit")
    register_tag(monkeypatch, "tiny-vit", "stored", file=str(model))
    encoder = SharedEncoder.from_open_clip("tiny-vit", "stored")
    head = tmp_path / "space_clip.safetensors"
    trained = tiny_head(semantic_layers=(3, 3, 2, 1), structural_layers=(2, 1, 0))
    save_checkpoint(head, card(encoder), trained)
    return model, head


@pytest.mark.parametrize("words", [("stored",), ("FILE",), ("stored", "--encoder-model", "tiny-vit")])
def test_words_need_no_file_beside_a_trained_head(clip_model, folder, tmp_path, words):
    model, head = clip_model
    words = [str(model) if word == "FILE" else word for word in words]
    both = ("--head", "space_clip", "--head", "depth_clip")
    found, text = report(tmp_path, head, "--data", folder, "--encoder-weights", *words, *both)
    tag = "stored" if words[0] == "stored" else "clip.safetensors"
    zero_shot = found["heads"][1]
    assert (zero_shot["method"], zero_shot["file"], zero_shot["weights_sha256"]) == ("depth_clip", None, None)
    assert zero_shot["source"] == f"weights {tag} of tiny-vit, both towers"
    assert zero_shot["valid_range_m"] == [1.0, 3.0]
    assert f"- weights of depth_clip: no file, SHA-256 of the tensors {zero_shot['head_tensors'][:12]}, source" in text
    assert str(tmp_path) not in json.dumps(found)
    config = EstimatorConfig(("depth_clip",), ("",), "tiny-vit", str(model), device="cpu", precision="fp32")
    estimator = DepthEstimator.from_settings(config)
    assert zero_shot["head_tensors"] == tensors_hash(estimator.heads["depth_clip"].state_dict())
    samples = [open_data_set(folder).sample(number) for number in range(3)]
    predictions = [estimator(sample.image)["depth_clip"].depth[0].numpy() for sample in samples]
    masks = [(sample.depth > 1) & (sample.depth < 3) for sample in samples]
    expected = by_numpy(predictions, [sample.depth for sample in samples], masks, 1, 3, False)
    for name in NAMES:
        assert row(found, "depth_clip", "metric")[name] == pytest.approx(expected[name], rel=1e-4), name


def test_words_need_no_file_at_all(clip_model, folder, tmp_path):
    options = ("--head", "depth_clip", "--encoder-model", "tiny-vit", "--encoder-weights", "stored")
    found, text = report(tmp_path, *options, "--data", folder)
    assert [entry["predictor"] for entry in found["rows"][::2]] == ["depth_clip", *TRIVIAL]
    assert found["weights"] == found["heads"][0]
    assert "- weights: no file, SHA-256 of the tensors" in text
    assert "- trained on: no depth at all" in text


def test_heads_that_cannot_be_compared_are_one_sentence(weights, other_heads, clip_model, folder, tmp_path, capsys):
    data = ("--data", folder)
    moa, words = other_heads.values()
    assert "space_clip, moa_depth_clip, moa_depth_clip; give" in refusal(capsys, *weights, moa, moa, *data)
    assert "space_clip; give the file of head wings" in refusal(capsys, *weights, *data, "--head", "wings")
    said = refusal(capsys, *weights, *data, "--head", "depth_clip", "--head", "space_clip")
    assert "space_clip; give the file of head depth_clip too" in said
    assert "--encoder-weights" in said
    assert "--encoder-model" in refusal(capsys, *data, "--head", "depth_clip", "--encoder-weights", "stored")
    assert "needs --encoder-weights" in refusal(capsys, *weights, *data, "--encoder-model", "tiny-vit")
    assert "none; give the file of one head" in refusal(capsys, *data)
    assert "--input-size is '96': give HEIGHTxWIDTH" in refusal(capsys, *weights, *data, "--input-size", "96")
    assert "was trained on encoder tiny-vit" in refusal(capsys, weights[0], words, clip_model[1], *data)
    encoder = tiny_encoder(seed=9)
    foreign = tmp_path / "foreign.safetensors"
    save_checkpoint(foreign, card(encoder), zero_shot_head(encoder))
    assert "Head depth_clip in" in refusal(capsys, *weights, foreign, *data)
    far = replace(MoaDepthClipConfig(TINY, bin_range=(4.0, 9.0), valid_range=(4.0, 9.0)), context_width=6)
    save_checkpoint(tmp_path / "far.safetensors", card(tiny_encoder()), MoaDepthClipHead(far))
    said = refusal(capsys, *weights, words, tmp_path / "far.safetensors", *data)
    assert "depth_clip is for 1 to 3 m, moa_depth_clip is for 4 to 9 m and office has" in said


def test_pictures_show_every_head(weights, other_heads, folder, tmp_path):
    report(tmp_path, *weights, *other_heads.values(), "--data", folder, "--pictures", "4")
    sheet = cv2.imread(str(tmp_path / "out" / "report_office.png"))
    assert sheet.shape[1] == 8 + 5 * 408  # picture, truth, three heads
    height = round(400 * 48 / 64)
    tiles = [sheet[38 : 38 + height, 8 + 408 * index : 408 + 408 * index] for index in range(5)]
    assert len({tile.tobytes() for tile in tiles}) == 5
    assert (tiles[1] == 225).all(axis=2).any()  # holes
    assert not any((tile == 225).all(axis=2).any() for tile in tiles[2:])


def test_a_stored_report_gives_the_rows_of_one_method(weights, other_heads, folder, tmp_path):
    report(tmp_path, *weights, other_heads["moa_depth_clip"], "--data", folder)
    stored = read_report(tmp_path / "out" / "report.json")
    assert [entry["predictor"] for entry in stored.rows_of("moa_depth_clip")[::2]] == ["moa_depth_clip", *TRIVIAL]
    assert [entry["predictor"] for entry in stored.rows_of("space_clip")[::2]] == ["space_clip", *TRIVIAL]
    assert stored.rows_of("clip") == stored.rows  # an encoder's: what all heads on it reach
    assert [head["file"] for head in stored.heads_of("clip")] == ["head.safetensors", "moa.safetensors"]
    with pytest.raises(BadInput, match="has no rows of depth_blip2, only of space_clip, moa_depth_clip"):
        stored.rows_of("depth_blip2")


def test_reports_of_one_head_are_read_as_before(weights, folder, tmp_path):
    found, _ = report(tmp_path, *weights, "--data", folder)
    assert found["weights"] == found["heads"][0]
    new = read_report(tmp_path / "out" / "report.json")
    del found["heads"]
    (tmp_path / "old.json").write_text(json.dumps(found))
    old = read_report(tmp_path / "old.json")
    assert old.heads == new.heads
    assert old.rows == new.rows == new.rows_of("space_clip")
    for broken in ({**found, "heads": []}, {**found, "heads": [{}]}, {**found, "rows": [{}]}, [], 3, None):
        (tmp_path / "broken.json").write_text(json.dumps(broken))
        with pytest.raises(BadInput, match="is not a report"):
            read_report(tmp_path / "broken.json")
    assert np.isfinite([entry["abs_rel"] for entry in new.rows]).all()
