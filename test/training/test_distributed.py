"""Two processes at half batch are one process: the very command, under torchrun, with gloo."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny import checkpoint, log_of, recipe_in

from clip_depth_ros.errors import BadInput
from clip_depth_training import distributed
from clip_depth_training.fitting.fit import as_yaml, fit
from clip_depth_training.methods.clip import ClipConfig

TINY_CLIP = {"encoder_name": "tiny", "image_size": 32, "width": 32, "embed_dim": 16, "text_width": 32}
TINY_CLIP |= {"text_layers": 1, "dense_hidden": 16}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "clip_depth_training.cli")


def run(*words):
    command = [sys.executable, *(str(word) for word in words), "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_two_processes_stopped_and_resumed_are_one(tmp_path):
    recipe = recipe_in(tmp_path, steps=6, validate_every=3, dropout=0.0, freeze_normalisation=True, validation_batch=4)
    fit(recipe, tmp_path / "one")
    file = tmp_path / "recipe.yaml"
    file.write_text(as_yaml(recipe))
    stopped = run(*TORCHRUN, "fit", file, "-o", tmp_path / "two", "--stop-after", 4)
    assert stopped.returncode == 0, stopped.stderr[-3000:]
    assert stopped.stderr.count("Stopped after step 4 of 6") == 1
    resumed = run("-m", "clip_depth_training.cli", "fit", file, "-o", tmp_path / "two", "--resume", "--devices", 2)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    one, two = (log_of(tmp_path / name, "loss") for name in ("one", "two"))
    assert list(one) == list(two) == [0, 1, 2, 3, 4, 5]
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-3)
    assert max(one.values()) / min(one.values()) > 1.05  # a curve, not a line
    for column in ("raw/metric/abs_rel", "average/median/a1"):
        assert log_of(tmp_path / "two", column) == pytest.approx(log_of(tmp_path / "one", column), rel=1e-3)
    whole, shared = (checkpoint(tmp_path / name)["state_dict"] for name in ("one", "two"))
    start = recipe.build().state_dict()
    moved = 0.0
    for name, value in whole.items():
        assert torch.allclose(shared[name].double(), value.double(), rtol=1e-3, atol=1e-5), name
        if name.startswith("method."):
            moved = max(moved, float((value.double() - start[name.removeprefix("method.")].double()).abs().max()))
        if "running_" in name:
            assert torch.equal(value, start.get(name.removeprefix("method."), value))  # frozen
    assert moved > 1e-3


def test_each_picture_is_told_from_the_captions_of_all_processes(tmp_path):
    """Contrastive training: the loss of two processes is that of one with the whole batch."""
    recipe = replace(recipe_in(tmp_path, steps=4, learning_rate=1e-4), method="clip", network=ClipConfig(**TINY_CLIP))
    fit(recipe, tmp_path / "one")
    file = tmp_path / "recipe.yaml"
    file.write_text(as_yaml(recipe))
    done = run(*TORCHRUN, "fit", file, "-o", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    for column in ("loss", "contrastive", "dense", "raw/metric/abs_rel"):
        one, two = (log_of(tmp_path / name, column) for name in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-3), column
    whole, shared = (checkpoint(tmp_path / name)["state_dict"] for name in ("one", "two"))
    assert all(torch.allclose(shared[name], value, rtol=1e-2, atol=1e-5) for name, value in whole.items())


def test_a_batch_that_does_not_divide_is_refused(monkeypatch, tmp_path):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "RANK": "0", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    assert (distributed.world_size(), distributed.share(6)) == (3, 2)
    with pytest.raises(BadInput, match="batch_size 4 does not divide by 3 processes"):
        fit(replace(recipe_in(tmp_path), batch_size=4), tmp_path / "run")


def test_alone_a_sum_is_what_it_was():
    value = torch.tensor(2.0, requires_grad=True)
    (total,) = distributed.all_sum(value)
    assert total is value
    assert (distributed.world_size(), distributed.rank(), distributed.together()) == (1, 0, False)
