"""What a second head on the same encode costs: ``python -m benchmark.several_heads``.

CLIP's ViT-B/16 and heads of full size, random weights, one 640x480 picture at a time from the host and back, as the
node runs them. SPACE-CLIP alone, with DepthCLIP beside it, with the others, and every head alone: what as many nodes
would need. They take turns in one process; ratios are to SPACE-CLIP alone, with their spread over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clip_depth_ros.benchmark.turns import take_turns, write_report
from clip_depth_ros.depth.config import PRECISIONS
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.estimator import DepthEstimator, DepthResult
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.depth.heads.depth_blip2 import DepthBlip2Config, DepthBlip2Head
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead

_MAIN = "space_clip"
_TOGETHER = (
    (_MAIN, "depth_clip"),
    (_MAIN, "moa_depth_clip"),
    (_MAIN, "depth_clip", "moa_depth_clip", "depth_blip2"),
)


def build(tiny: bool) -> tuple[SharedEncoder, dict[str, DepthHead]]:
    """Returns the encoder and a head of every method for it."""
    torch.manual_seed(0)
    if tiny:
        vision = {"image_size": 64, "patch_size": 16, "width": 32, "layers": 12, "head_width": 16}
        encoder = SharedEncoder(EncoderConfig("tiny", vision, 16))
    else:
        encoder = SharedEncoder.from_open_clip("ViT-B-16-quickgelu")
    words = DepthClipConfig.for_encoder(encoder)
    heads: tuple[DepthHead, ...] = (
        SpaceClipHead(SpaceClipConfig(width=encoder.width)),
        DepthClipHead.from_prompts(words, torch.randn(len(words.classes), words.embed_dim)),
        MoaDepthClipHead(MoaDepthClipConfig(encoder=encoder.config)),
        DepthBlip2Head(DepthBlip2Config(layer=encoder.depth - 1, qformer=QFormerConfig(image_width=encoder.width))),
    )
    return encoder, {head.method: head.requires_grad_(False).eval() for head in heads}


def ways_of(tiny: bool, device: str, precision: str) -> dict[str, Callable[[], DepthResult]]:
    """Returns every combination of heads, by its name, as a call from host picture to host depth."""
    encoder, heads = build(tiny)
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    ways: dict[str, Callable[[], DepthResult]] = {}
    for names in ((_MAIN,), *_TOGETHER, *((name,) for name in heads if name != _MAIN)):
        estimator = DepthEstimator(encoder, {name: heads[name] for name in names}, device, precision)
        ways[" + ".join(names)] = partial(_answer, estimator, picture)
    return ways


def _answer(estimator: DepthEstimator, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> DepthResult:
    result = estimator(picture, tokens=False)
    for prediction in result.values():
        prediction.depth.cpu()
    return result


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each combination (default 15)")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="as the node's parameter (default auto)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: to see that it runs")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark_results/several_heads.json"), help="JSON")
    arguments = parser.parse_args(words)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    ways = ways_of(arguments.tiny, arguments.device, arguments.precision)
    taken = take_turns(ways, arguments.rounds, arguments.device)
    report = {"seconds": taken, "ratios": ratios_to_main(taken)}
    print("\n| heads | ms (lowest to highest) | times space_clip alone (lowest to highest) |" + "\n" + "|---" * 3 + "|")
    for name, values in taken.items():
        spread = f"{1000 * min(values):.1f} to {1000 * max(values):.1f}"
        ratios = report["ratios"][name]
        print(
            f"| {name} | {1000 * statistics.median(values):.1f} ({spread}) | "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
        )
    write_report(arguments.output, arguments, report)
    return 0


def ratios_to_main(taken: dict[str, list[float]]) -> dict[str, list[float]]:
    """Returns every way's time over that of SPACE-CLIP alone in the same round."""
    return {name: [value / alone for value, alone in zip(values, taken[_MAIN])] for name, values in taken.items()}


if __name__ == "__main__":
    sys.exit(main())
