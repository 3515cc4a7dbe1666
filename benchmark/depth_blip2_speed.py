"""How fast DepthBLIP-2 is, against an encode per prompt: ``python -m benchmark.depth_blip2_speed``.

Full size, random weights: CLIP's ViT-L/14 and BLIP-2's Q-Former, 7 prompts, flip averaging, one 224x224 picture at a
time. The plain way is the published code's: the picture and its mirror image are encoded for every prompt (14 encodes),
each followed by transformers' own Q-Former. First both must give the same depth in fp32. Then they take turns in one
process; a round is one run of each, and the ratio is given with its spread over the rounds.

Then the fast precisions: the encoder in 16 bits with the head in 32 or 16; bf16 on a CPU (of use where it has such
arithmetic), fp16 on a GPU. Their speed and the error of their depth stand side by side, because at temperature 0.05 the
softmax magnifies rounding. How much depends on the weights, and random ones are not BLIP-2's: ``--scale`` is the
deviation of the Q-Former's; the printed confidence says how sure its softmax is.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import InstructBlipQFormerConfig, InstructBlipQFormerModel

from clip_depth_ros.benchmark.turns import take_turns, write_report
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads.depth_blip2 import TOKEN_IDS, DepthBlip2Config, DepthBlip2Head, flip_averaged
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.importers.blip2_names import qformer_tensors

SAME = 1e-4
"""Metres: largest difference between the two ways in fp32."""

Way = Callable[[Tensor, tuple[int, int]], Tensor]
"""From pixels ``(1, 3, h, w)`` and (H, W) to depth ``(1, H, W)`` metres."""


class PlainDepthBlip2:
    """DepthBLIP-2 as one writes it first: a prompt after the other, each with an encode and a Q-Former of its own."""

    def __init__(self, encoder: SharedEncoder, qformer: nn.Module, queries: Tensor, head: DepthBlip2Head) -> None:
        self.encoder, self.qformer, self.queries = encoder, qformer, queries
        self.norm, self.config = head.ln_vision, head.config

    def __call__(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns depth ``(1, H, W)`` metres of ``pixels (1, 3, h, w)``, averaged with the mirror image's."""
        upright, mirrored = self.depth(pixels), self.depth(pixels.flip(-1))
        depth = (upright + mirrored.flip(-1)) / 2
        return F.interpolate(depth[None], size, mode="bilinear", align_corners=True)[0]

    def depth(self, pixels: Tensor) -> Tensor:
        """Returns the coarse depth ``(1, rows, columns)`` of one picture."""
        rows, columns, channels = self.config.map_size
        maps = []
        for ids in self.config.token_ids:
            image = self.norm(self.encoder(pixels, {self.config.layer}).hidden[self.config.layer])
            tokens = torch.tensor([ids], device=pixels.device)
            found = self.qformer(
                input_ids=tokens,
                attention_mask=torch.ones(1, self.queries.shape[1] + len(ids), device=pixels.device, dtype=torch.long),
                query_embeds=self.queries,
                encoder_hidden_states=image,
            ).last_hidden_state[:, : self.queries.shape[1]]
            maps.append(found.mean(dim=1).view(1, rows, columns, channels).amax(dim=-1))
        weights = torch.softmax(torch.stack(maps, dim=1) / self.config.temperature, dim=1)
        distances = torch.tensor(self.config.bins, device=pixels.device)
        return (weights * distances[:, None, None]).sum(dim=1)


def build(tiny: bool, scale: float, device: str) -> tuple[SharedEncoder, DepthBlip2Head, PlainDepthBlip2]:
    """Returns an encoder, our head, and the plain way with the same weights."""
    torch.manual_seed(0)
    if tiny:
        vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 3, "head_width": 16}
        encoder = SharedEncoder(EncoderConfig("tiny", vision, 16))
        sizes = QFormerConfig(width=24, layers=4, heads=2, hidden=32, queries=4, image_width=32)
        config = DepthBlip2Config(layer=2, map_size=(2, 4, 3), qformer=sizes)
    else:
        encoder = SharedEncoder.from_open_clip("ViT-L-14-quickgelu")
        config = DepthBlip2Config()
    head, sizes = DepthBlip2Head(config), config.qformer
    plain = InstructBlipQFormerModel(
        InstructBlipQFormerConfig(
            hidden_size=sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.hidden,
            encoder_hidden_size=sizes.image_width,
            vocab_size=sizes.vocabulary,
        )
    )
    for module in plain.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=scale)
    queries = torch.randn(1, sizes.queries, sizes.width) * scale
    published = {f"qformer.{name}": tensor for name, tensor in plain.state_dict().items()}
    head.qformer.load_state_dict(qformer_tensors({**published, "query_tokens": queries}))
    for module in (encoder, head, plain):
        module.requires_grad_(False).eval().to(device)
    return encoder, head, PlainDepthBlip2(encoder, plain, queries.to(device), head)


def ours(encoder: SharedEncoder, head: DepthBlip2Head) -> Way:
    """Returns our way: one encode of the picture and its mirror image, as the estimator runs a head."""
    head_type = next(head.parameters()).dtype

    def encode(pixels: Tensor) -> EncoderFeatures:
        return encoder(pixels.to(encoder.dtype), head.layers, pooled=head.needs_pooled).to(head_type)

    return lambda pixels, size: flip_averaged(encode, head, pixels, size).depth


def bound(ways: dict[str, Way], pixels: Tensor, size: tuple[int, int]) -> dict[str, Callable[[], Tensor]]:
    """Returns the ways with what they are run on."""
    return {name: partial(way, pixels, size) for name, way in ways.items()}


def errors(depth: Tensor, exact: Tensor) -> dict[str, float]:
    """Returns the relative error of depth in per cent: median, 99th percentile and largest."""
    relative = (100 * (depth - exact).abs() / exact).cpu().numpy()
    low, high = np.percentile(relative, (50, 99)).tolist()
    return {"p50": low, "p99": high, "max": float(relative.max())}


def fast_ways(encoder: SharedEncoder, head: DepthBlip2Head, device: str) -> dict[str, Way]:
    """Returns our way with the encoder in 16 bits, and with the head in 16 bits too."""
    name, dtype = ("fp16", torch.float16) if torch.device(device).type == "cuda" else ("bf16", torch.bfloat16)
    small = copy.deepcopy(encoder)
    if dtype == torch.bfloat16:
        small.narrow(dtype)
    else:
        small.to(dtype)
    return {
        f"{name} encoder": ours(small, head),
        f"{name} encoder and head": ours(small, copy.deepcopy(head).narrow(dtype)),
    }


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Returns the report; None when the two ways differ."""
    device, size = arguments.device, (480, 640)
    encoder, head, plain = build(arguments.tiny, arguments.scale, device)
    side = encoder.config.image_size[0]
    pictures = torch.randn(arguments.pictures, 1, 3, side, side, device=device)
    way = ours(encoder, head)
    difference = max(float((way(picture, size) - plain(picture, size)).abs().max()) for picture in pictures[:2])
    exact = torch.cat([way(picture, size) for picture in pictures])
    sure = float(head(encoder(pictures[:, 0], head.layers), size).confidence.mean())
    told = f"{exact.min():.3f} to {exact.max():.3f} m, deviation {exact.std():.3f} m, mean confidence {sure:.2f}"
    print(f"Depth of {len(pictures)} pictures: {told}.")
    print(f"fp32: largest difference between the two ways {difference:.1e} m (allowed {SAME:.0e}).\n")
    if difference > SAME:
        return None
    ways: dict[str, Way] = {"plain": plain, "ours": way}
    taken = take_turns(bound(ways, pictures[0], size), arguments.rounds, device)
    ratios = [slow / fast for slow, fast in zip(taken["plain"], taken["ours"])]
    ratio = statistics.median(taken["plain"]) / statistics.median(taken["ours"])
    print(f"\n{len(TOKEN_IDS)} prompts, flip averaging, fp32: {ratio:.2f} times faster ", end="")
    print(f"({min(ratios):.2f} to {max(ratios):.2f} by round).\n")
    fast = fast_ways(encoder, head, device)
    found = {name: errors(torch.cat([run(p, size) for p in pictures]), exact) for name, run in fast.items()}
    turns = take_turns(bound({"fp32": way, **fast}, pictures[0], size), arguments.rounds, device)
    print_precisions(turns, found)
    return {
        "largest_difference_m": difference,
        "depth_deviation_m": float(exact.std()),
        "confidence": sure,
        "fp32_seconds": taken,
        "ratio": ratio,
        "ratios": ratios,
        "precisions_seconds": turns,
        "errors_percent": found,
    }


def print_precisions(turns: dict[str, list[float]], found: dict[str, dict[str, float]]) -> None:
    """Prints speed and error of every precision side by side."""
    print(
        "\n| precision | ms (lowest to highest) | faster than fp32 | depth error p50 [%] | p99 | max |"
        + "\n"
        + "|---" * 6
        + "|"
    )
    slowest = statistics.median(turns["fp32"])
    for name, values in turns.items():
        middle, error = statistics.median(values), found.get(name, {"p50": 0.0, "p99": 0.0, "max": 0.0})
        taken = f"{1000 * middle:.1f} ({1000 * min(values):.1f} to {1000 * max(values):.1f}) | {slowest / middle:.2f}"
        print(f"| {name} | {taken} | {error['p50']:.3f} | {error['p99']:.3f} | {error['max']:.3f} |")


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 0, or 1 when the two ways do not give the same depth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="runs of each way (default 7)")
    parser.add_argument("--pictures", type=int, default=4, help="pictures for the depth error (default 4)")
    parser.add_argument("--scale", type=float, default=0.035, help="deviation of the random weights (default 0.035)")
    parser.add_argument("--threads", type=int, help="CPU threads (default all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: to see that it runs")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("benchmark_results/depth_blip2_speed.json"), help="JSON"
    )
    arguments = parser.parse_args(words)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report = measure(arguments)
    if report is None:
        print("The two ways do not give the same depth.", file=sys.stderr)
        return 1
    write_report(arguments.output, arguments, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
