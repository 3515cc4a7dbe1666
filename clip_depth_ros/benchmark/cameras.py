"""``clip-depth benchmark cameras``: the newest picture of several cameras in one batch, against one camera."""

from __future__ import annotations

import argparse
from functools import partial

from clip_depth_ros.benchmark.report import Outcome, Table, draw_bars
from clip_depth_ros.benchmark.turns import Spread, take_turns
from clip_depth_ros.benchmark.ways import Choice, digits_of, estimator_of, from_host, set_up
from clip_depth_ros.benchmark.weights import load_weights, picture
from clip_depth_ros.sizes import parse_size

_HEADER = ("cameras", "ms a batch (lowest to highest)", "ms a camera", "frames/s of all", "times {} camera")


def measure(arguments: argparse.Namespace) -> Outcome:
    """Times N pictures in host memory to N depths there, all in one batch, for several N in turns.

    Raises:
        BadInput: weights, device or an option that cannot be used.
    """
    size = parse_size(arguments.size, "--size")
    device = set_up(arguments)
    weights = load_weights(arguments).only_main()
    estimator = estimator_of(weights, Choice(arguments.precision, arguments.acceleration), device)
    counts = sorted(set(arguments.cameras))
    pictures = [picture(size, seed) for seed in range(max(counts))]
    names = {count: f"{count} camera{'s' * (count > 1)}" for count in counts}
    ways = {names[count]: from_host(estimator, pictures[:count]) for count in counts}
    digits = 3 if device.type == "cuda" else 1
    taken = take_turns(ways, arguments.rounds, str(device), repeats=arguments.repeats, warm_ups=3, digits=digits)
    fewest = taken[names[counts[0]]]
    ratios = {name: [value / one for value, one in zip(values, fewest)] for name, values in taken.items()}
    rows = []
    for count, (name, values) in zip(counts, taken.items()):
        per_camera, digits = [value / count for value in values], digits_of(taken)
        rates = Spread.of([1 / value for value in per_camera])
        times = [Spread.of(some).text(digits, 1e3) for some in (values, per_camera)]
        rows.append([str(count), *times, rates.text(1), Spread.of(ratios[name]).text(2)])
    header = [text.format(counts[0]) for text in _HEADER]
    shown = {name: [1e3 * value for value in values] for name, values in taken.items()}
    path = "; ".join(estimator.path.values())
    results = {
        "device": str(device),
        "weights": weights.name,
        "paths": estimator.path,
        "seconds": taken,
        "ratios": ratios,
        "seconds_spread": {name: Spread.of(values)._asdict() for name, values in taken.items()},
        "ratios_spread": {name: Spread.of(values)._asdict() for name, values in ratios.items()},
    }
    title = f"Cameras in one batch: {weights.name}, {size[0]}x{size[1]} each, on {device} ({path})"
    return Outcome(title, results, [Table(header, rows)], partial(draw_bars, label="ms a batch", values=shown))
