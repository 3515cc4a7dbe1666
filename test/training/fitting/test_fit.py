"""Trainings from beginning to end on a tiny network: what they write, and that an interruption changes nothing."""

import json
import os
import resource
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from pictures_on_disk import write_rgbd
from tiny import At, checkpoint, log_of, network, recipe_in, same_weights, write_encoder

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.cli import main
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.fitting.checkpoints import BEST_CHECKPOINT, BEST_FILE, LAST_CHECKPOINT, save
from clip_depth_training.fitting.finite import BATCH_FILE, TrainingFailed
from clip_depth_training.fitting.fit import as_yaml, fit
from clip_depth_training.fitting.interruption import Interrupted


@pytest.fixture(scope="module")
def trained(tiny_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    fit(tiny_recipe, folder)
    return folder


def test_a_training_writes_what_it_is_asked_for_and_no_more(tiny_recipe, trained):
    assert sorted(entry.name for entry in trained.iterdir()) == [
        *(BEST_CHECKPOINT, BEST_FILE, LAST_CHECKPOINT, "log", "recipe.yaml", "tensorboard"),
    ]
    assert list(log_of(trained, "loss")) == [0, 1, 2, 3]
    for column in ("raw/metric/abs_rel", "average/median/a1"):
        assert list(log_of(trained, column)) == [1, 3]
    state = checkpoint(trained)["state_dict"]
    assert not any("encoder" in name for name in state)  # the frozen encoder stays the file it was


def test_weights_move_and_their_average_follows_from_the_first(tiny_recipe, trained):
    state = checkpoint(trained)["state_dict"]
    moved = float(state["method.head.depth_head.3.bias"]) - 2.0
    followed = float(state["average.module.depth_head.3.bias"]) - 2.0
    assert abs(moved) > 1e-4
    assert 0 < followed / moved < 4 * (1 - tiny_recipe.ema_decay)
    counted = "depth_head.1.num_batches_tracked"
    assert int(state[f"average.module.{counted}"]) == int(state[f"method.head.{counted}"]) == 4


def test_the_best_weights_are_kept_and_say_what_they_are(trained):
    best = json.loads((trained / BEST_FILE).read_text())
    assert checkpoint(trained, BEST_CHECKPOINT)["best"] == best
    assert checkpoint(trained, BEST_CHECKPOINT)["global_step"] == best["step"]
    found = {
        (weights, step + 1): error
        for weights in ("raw", "average")
        for step, error in log_of(trained, f"{weights}/metric/abs_rel").items()
    }
    assert best["abs_rel"] == pytest.approx(min(found.values()), rel=1e-6)
    assert found[best["weights"], best["step"]] == pytest.approx(best["abs_rel"], rel=1e-6)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_interrupted_and_resumed_training_ends_with_the_same_weights(tiny_recipe, trained, tmp_path, stop):
    with pytest.raises(Interrupted, match=f"step {stop} of 4: the same command with --resume"):
        fit(tiny_recipe, tmp_path / "run", stop_after=stop)
    assert checkpoint(tmp_path / "run")["global_step"] == stop
    fit(tiny_recipe, tmp_path / "run", resume=True)
    assert same_weights(trained / LAST_CHECKPOINT, tmp_path / "run" / LAST_CHECKPOINT)
    assert log_of(tmp_path / "run", "loss") == log_of(trained, "loss")
    if stop != 2:  # the validation of the very step it stopped at is left out
        assert (trained / BEST_FILE).read_text() == (tmp_path / "run" / BEST_FILE).read_text()


@pytest.fixture(scope="module")
def files_recipe(tiny_recipe, tmp_path_factory):
    """On picture files, read by a worker and cropped."""
    folder = write_rgbd(tmp_path_factory.mktemp("pictures") / "rgbd", count=8, height=40, width=48)
    changes = {"train": folder, "validation": folder, "workers": 1, "train_size": (32, 36), "steps": None, "epochs": 2}
    plain = network(tiny_recipe.network.encoder, canonical_focal_px=None, supervision_size=None)
    return replace(tiny_recipe, **changes, network=plain, validate_every=None, dropout=0.3)


def test_crops_read_by_workers_resume_exactly(files_recipe, tmp_path):
    fit(files_recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(files_recipe, tmp_path / "run", stop_after=3)
    fit(replace(files_recipe, workers=0), tmp_path / "run", resume=True)
    assert same_weights(tmp_path / "whole" / LAST_CHECKPOINT, tmp_path / "run" / LAST_CHECKPOINT)
    assert checkpoint(tmp_path / "whole")["global_step"] == 4  # two passes of 8 pictures in batches of 4
    assert list(log_of(tmp_path / "whole", "raw/metric/abs_rel")) == [1, 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_training_that_goes_on_later(tiny_recipe, trained, tmp_path, capsys, number):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"last\.ckpt") as stopped:
        fit(tiny_recipe, tmp_path, callbacks=[At(1, lambda *_: os.kill(os.getpid(), number))])
    assert stopped.value.signal == number
    assert signal.getsignal(number) == before
    step = checkpoint(tmp_path)["global_step"]
    assert 1 <= step < 4
    fit(tiny_recipe, tmp_path, resume=True)
    assert same_weights(trained / LAST_CHECKPOINT, tmp_path / LAST_CHECKPOINT)


def test_a_loss_that_is_no_number_stops_with_its_batch(tiny_recipe, tmp_path):
    def spoil(_, module):
        with torch.no_grad():
            module.method.head.depth_head[0].weight.fill_(torch.inf)

    with pytest.raises(TrainingFailed, match=r"step 3: its batch is in .*nan_batch\.pt .*start anew") as stopped:
        fit(tiny_recipe, tmp_path, callbacks=[At(3, spoil)])
    assert "\n" not in str(stopped.value)
    assert checkpoint(tmp_path)["global_step"] == 2  # the last good one
    batch = torch.load(tmp_path / BATCH_FILE, weights_only=True)
    assert batch["step"] == 3
    assert batch["images"].shape == (4, 32, 32, 3)
    assert batch["depth"].shape == (4, 32, 32)
    assert not np.isfinite(batch["losses"]["loss"])


def test_no_number_is_exit_code_1_without_a_traceback(tiny_recipe, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(as_yaml(replace(tiny_recipe, learning_rate=1e30, gradient_clip=0.0, steps=8)))
    assert main(["fit", str(recipe), "-o", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.count("clip-depth-train fit: The loss became") == 1
    assert (tmp_path / "run" / BATCH_FILE).is_file()


def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoint_before(tiny_recipe, tmp_path):
    fit(replace(tiny_recipe, steps=2), tmp_path / "run")
    good = (tmp_path / "run" / LAST_CHECKPOINT).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def no_room(trainer, _):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) // 2, hard))
        try:
            save(trainer, tmp_path / "run" / LAST_CHECKPOINT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(BadInput, match=r"last\.ckpt cannot be written"):
        fit(replace(tiny_recipe, steps=2), tmp_path / "other", callbacks=[At(1, no_room)])
    assert (tmp_path / "run" / LAST_CHECKPOINT).read_bytes() == good
    assert [file.name for file in (tmp_path / "run").glob("*last*")] == [LAST_CHECKPOINT]
    with pytest.raises(BadInput, match="cannot be written"), replacing(tmp_path / "run" / "log" / "from_step_0000000"):
        pass


def test_a_disk_too_small_is_noticed_before_the_first_step(tiny_recipe, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(BadInput, match=r"0\.1 MiB free"):
        fit(replace(tiny_recipe, keep_every=1), tmp_path / "run")
    assert not list(tmp_path.glob("run/*.ckpt"))


def test_a_training_goes_on_with_its_own_encoder_only(tmp_path):
    """The checkpoint leaves the frozen encoder out, so it must notice when the file is another one."""
    recipe = recipe_in(tmp_path)
    with pytest.raises(Interrupted):
        fit(recipe, tmp_path / "run", stop_after=1)
    write_encoder(tmp_path / "encoder.safetensors", seed=8)
    with pytest.raises(BadInput, match="put the old encoder file back"):
        fit(recipe, tmp_path / "run", resume=True)


def test_a_history_is_kept_where_asked_for_and_the_end_is_always_validated(tiny_recipe, tmp_path):
    fit(replace(tiny_recipe, keep_every=2, validate_every=3), tmp_path)
    assert sorted(file.name for file in tmp_path.glob("step=*")) == ["step=2.ckpt", "step=4.ckpt"]
    assert checkpoint(tmp_path)["global_step"] == 4
    assert len(log_of(tmp_path, "raw/metric/abs_rel")) == 2


def test_what_cannot_be_trained_is_one_sentence(tiny_recipe, trained, tmp_path, capsys):
    with pytest.raises(BadInput, match="start without --resume"):
        fit(tiny_recipe, tmp_path / "nothing", resume=True)
    with pytest.raises(BadInput, match="holds a training already"):
        fit(tiny_recipe, trained)
    with pytest.raises(BadInput, match="begun with another learning_rate"):
        fit(replace(tiny_recipe, learning_rate=1.0), trained, resume=True)
    with pytest.raises(BadInput, match="fewer than one batch of 64"):
        fit(replace(tiny_recipe, batch_size=64), tmp_path)
    assert main(["fit", "no_such_recipe", "-o", str(tmp_path)]) == 2
    assert main(["fit", "space_clip_nyu", "-o", str(tmp_path), "--train", str(tmp_path)]) == 2
    words = ["fit", "space_clip_nyu", "-o", str(tmp_path), "--batch-size", "9", "--devices", "2"]
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "space_clip_nyu" in said[0]
    assert "is no data set" in said[1]
    assert "batch_size 9 does not divide by 2" in said[2]


def test_a_damaged_picture_found_by_a_worker_is_named(files_recipe, tmp_path):
    folder = write_rgbd(tmp_path / "rgbd", count=4, height=40, width=48)
    data = open_data_set(folder)
    (folder / "rgb" / "0002.png").write_bytes(b"junk")
    assert len(data) == 4
    with pytest.raises(BadInput, match=r"0002\.png") as error:
        fit(replace(files_recipe, train=folder), tmp_path / "run")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["space_clip_rooms", "space_clip_bag"])
def test_shipped_recipes_train_on_small_data(name, tiny_recipe, files_recipe, tmp_path):
    data = tiny_recipe if name == "space_clip_rooms" else files_recipe
    changes = {"network.encoder": tiny_recipe.network.encoder, "network.pretrained": "''", "precision": "32-true"}
    changes |= {"epochs": "null", "steps": 2, "network.channels": "[8, 8, 4, 4]", "workers": 0}
    words = ["fit", name, "-o", str(tmp_path), "--train", str(data.train), "--validation", str(data.validation)]
    words += ["--batch-size", "4"]
    assert main([*words, *(part for key, value in changes.items() for part in ("--set", f"{key}={value}"))]) == 0
    assert checkpoint(tmp_path)["global_step"] == 2
    assert len(log_of(tmp_path, "raw/metric/abs_rel")) == 1


def test_the_command_line_lists_what_there_is(capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--help"])
    assert end.value.code == 0
    listed = capsys.readouterr().out
    assert all(option in listed for option in ("--resume", "--devices", "--set", "--batch-size", "--threads"))
