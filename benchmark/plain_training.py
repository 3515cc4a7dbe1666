"""SPACE-CLIP's training as one writes it first, for :mod:`benchmark.training_speed` to compare with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead

WEIGHTS = (0.10, 0.05)


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Pictures changed and prepared one by one."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted((folder / "rgb").iterdir())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Returns pixels ``(3, 224, 224)`` normalised and depth ``(H, W)`` metres."""
        file, rng = self.files[index], np.random.default_rng()
        picture = Image.open(file).convert("RGB")
        depth = cv2.imread(str(file.parent.with_name("depth") / file.name), cv2.IMREAD_UNCHANGED) / 1000.0
        angle = float(rng.uniform(-1, 1))
        picture = picture.rotate(angle, resample=Image.Resampling.BICUBIC)
        depth = np.asarray(Image.fromarray(depth.astype(np.float32)).rotate(angle, resample=Image.Resampling.NEAREST))
        pixels = np.asarray(picture, np.float32) / 255
        if rng.random() < 0.5:
            pixels, depth = pixels[:, ::-1], depth[:, ::-1]
        if rng.random() < 0.5:
            pixels = pixels ** rng.uniform(0.9, 1.1) * rng.uniform(0.9, 1.1) * rng.uniform(0.9, 1.1, 3)
        picture = Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
        small = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC), np.float32) / 255
        normalised = (small - (0.48145466, 0.4578275, 0.40821073)) / (0.26862954, 0.26130258, 0.27577711)
        return torch.from_numpy(normalised).permute(2, 0, 1).float(), torch.from_numpy(depth.copy()).float()


def silog(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The scale-invariant log error over the valid pixels."""
    difference = torch.log(prediction[mask].clamp_min(1e-7)) - torch.log(target[mask])
    spread = difference.var(unbiased=False) + 0.15 * difference.mean() ** 2
    return 10 * torch.sqrt(spread.clamp_min(1e-7))


def ssim_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - SSIM with a two-dimensional window, each sample mapped to 0..1 by itself."""
    line = torch.exp(-((torch.arange(11.0) - 5) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    first, second = [], []
    for guess, truth, valid in zip(prediction, target, mask):
        low, high = truth[valid].min(), truth[valid].max()
        first.append(((guess - low) / (high - low)).clamp(0, 1))
        second.append(((truth - low) / (high - low)).clamp(0, 1))
    x, y = torch.stack(first)[:, None], torch.stack(second)[:, None]
    mean_x, mean_y = F.conv2d(x, window, padding=5), F.conv2d(y, window, padding=5)
    variance_x = F.conv2d(x * x, window, padding=5) - mean_x**2
    variance_y = F.conv2d(y * y, window, padding=5) - mean_y**2
    covariance = F.conv2d(x * y, window, padding=5) - mean_x * mean_y
    above = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
    below = (mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2)
    return (1 - above / below)[:, 0][mask].mean()


def train(folder: Path, batch_size: int, begin: Callable[[], None], end: Callable[[], None]) -> None:
    """Trains for ever; calls ``begin`` when a step has its data and ``end`` after it."""
    encoder = SharedEncoder.from_open_clip("ViT-B-16-quickgelu")
    head = SpaceClipHead(SpaceClipConfig())
    torch.nn.init.constant_(head.depth_head.get_parameter("3.bias"), 2.0)
    average = copy.deepcopy(head)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-4, weight_decay=0.01)
    pictures = Pictures(folder)
    while True:
        for pixels, target in DataLoader(pictures, batch_size, shuffle=True, num_workers=2, drop_last=True):
            begin()
            features = encoder(pixels, range(13), pooled=True)
            depth, auxiliary = head.training_outputs(features, (target.shape[1], target.shape[2]))
            mask = (target > 0.001) & (target < 10)
            loss = 0.5 * silog(depth, target, mask) + 0.5 * ssim_loss(depth, target, mask)
            for weight, map_ in zip(WEIGHTS, auxiliary):
                loss = loss + weight * silog(map_, target, mask)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for old, new in zip(average.state_dict().values(), head.state_dict().values()):
                    old.copy_(0.996 * old + 0.004 * new)
            end()
