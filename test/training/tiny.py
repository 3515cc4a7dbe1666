"""Recipes that train in seconds."""

import csv

import torch
from lightning.pytorch.callbacks import Callback
from rooms_on_disk import write_rooms
from torch import nn

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_training.augmentation import AugmentationConfig
from clip_depth_training.methods.space_clip import SpaceClipMethodConfig
from clip_depth_training.methods.text import TextTower, save_training_parts
from clip_depth_training.recipe import Recipe


def write_encoder(file, size=32, width=32, layers=12, seed=7):
    """A random CLIP tower as a file of this project."""
    torch.manual_seed(seed)
    vision = {"image_size": size, "layers": layers, "width": width, "head_width": 16, "patch_size": 16}
    encoder = SharedEncoder(EncoderConfig(name="tiny", vision=vision, embed_dim=16))
    save_checkpoint(file, CheckpointMetadata(method=ENCODER_ONLY, encoder=encoder.config), encoder=encoder)
    return file


def write_text_tower(file, captions, embed_dim=16):
    """A random text tower of this project that has seen the words of ``captions``."""
    torch.manual_seed(3)
    text = TextTower(embed_dim, width=32, layers=1, context_length=16)
    text(captions)
    sizes = {"embed_dim": embed_dim, "text_width": 32, "text_layers": 1, "context_length": 16}
    save_training_parts(file, text, nn.Linear(2, 2), sizes)
    return text.eval()


def network(encoder, **changes):
    values = {"channels": (8, 8, 4, 4), "film_hidden": 8, "canonical_focal_px": 32.0, "supervision_size": (16, 16)}
    return SpaceClipMethodConfig(encoder=str(encoder), **{**values, "valid_range": (0.1, 10.0), **changes})


def recipe_in(folder, **changes):
    """A recipe on four rooms written into ``folder``."""
    values = {
        "name": "tiny",
        "train": write_rooms(folder / "train", 4),
        "validation": write_rooms(folder / "validation", 2, seed=1),
        "network": network(write_encoder(folder / "encoder.safetensors")),
        "steps": 4,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "precision": "32-true",
        "validate_every": 2,
        "log_every": 1,
        "augmentation": AugmentationConfig(rotation=1.0),
    }
    return Recipe(**{**values, **changes})


def same_weights(one, other):
    """Whether two checkpoint files hold the same weights and running average, to the bit."""
    first, second = (torch.load(file, map_location="cpu", weights_only=True)["state_dict"] for file in (one, other))
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def checkpoint(folder, name="last.ckpt"):
    return torch.load(folder / name, map_location="cpu", weights_only=True)


def log_of(folder, column):
    """The values of a column of the logs of all stretches, by step (from 0)."""
    rows = [row for file in sorted(folder.glob("log/*/metrics.csv")) for row in csv.DictReader(file.open())]
    return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}


class At(Callback):
    """Does something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            self.action(trainer, pl_module)
