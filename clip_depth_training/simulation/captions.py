"""Sentences about a rendered view: what is visible in it, how far away, and the kind of room.

Distance words have fixed limits along the camera's axis, so that they mean metres: "very close" under 0.7 m, "close"
under 1.5 m, "a few steps away" under 3.5 m, "far away" beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clip_depth_training.simulation.scene import Item, Room

DISTANCES = ((0.7, "very close"), (1.5, "close"), (3.5, "a few steps away"), (float("inf"), "far away"))
LONGEST = 40  # words
_LEAST_SHARE = 0.004  # of the picture; what is smaller is not named
_COLOURED_ANYWAY = ("whiteboard", "blackboard", "toilet", "tool board", "stack of tyres")
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_PLURALS = {"person": "people", "box": "boxes", "bench": "benches", "pile of paper": "piles of paper"}
_PLURALS |= {"stack of boxes": "stacks of boxes", "stack of tyres": "stacks of tyres", "small box": "small boxes"}


@dataclass(frozen=True)
class Seen:
    """A visible thing, its distance along Z (metres, the nearest fifth of what is seen of it) and its share of the
    picture."""

    item: Item
    distance: float
    share: float


def visible(items: Sequence[Item], owners: np.ndarray, depth: np.ndarray) -> list[Seen]:
    """Returns what a picture shows, the largest first.

    Args:
        items: what may be named.
        owners: (H, W) int, the index of the item that a pixel shows, -1 for none.
        depth: (H, W) metres along Z.
    """
    found = []
    for index in np.unique(owners[owners >= 0]):
        mask = owners == index
        share = float(mask.mean())
        if share >= _LEAST_SHARE:
            found.append(Seen(items[int(index)], float(np.percentile(depth[mask], 20)), share))
    return sorted(found, key=lambda seen: -seen.share)


def distance_word(metres: float) -> str:
    """Returns the word for a distance."""
    return next(word for limit, word in DISTANCES if metres < limit)


def _phrases(seen: Sequence[Seen], coloured: bool) -> list[tuple[str, str]]:
    """Returns (thing, distance word) pairs; equal ones are counted, in the order of the largest."""
    count = Counter((_name(s.item) if coloured else s.item.noun, s.item.noun, distance_word(s.distance)) for s in seen)
    phrases = []
    for (name, noun, word), number in count.items():
        if number == 1:
            phrases.append((f"{article_of(name)} {name}", word))
        else:
            many = name.replace(noun, _PLURALS.get(noun, f"{noun}s"), 1)
            phrases.append((f"{_NUMBERS.get(number, 'many')} {many}", word))
    return phrases


def _name(item: Item) -> str:
    """Returns noun and colour, where the colour says more than the noun does."""
    if not item.colour or item.colour in item.noun or item.noun in _COLOURED_ANYWAY:
        return item.noun
    return f"person in {item.colour}" if item.noun == "person" else f"{item.colour} {item.noun}"


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def describe(room: Room, seen: Sequence[Seen], brightness: float, rng: np.random.Generator) -> tuple[str, str]:
    """Returns two sentences about a view, of different templates; ``brightness`` is the picture's mean, 0 to 255."""
    light = "dim " if brightness < 60 else "bright " if brightness > 150 else ""
    floor, walls = room.looks.get("floor", "plain"), room.looks.get("walls", "plain")
    floor = floor if floor.endswith("carpet") else f"{floor} floor"
    look = f"{walls} walls and {article_of(floor)} {floor}"
    place = f"{light}{room.kind}"
    article = article_of(place)
    named = _phrases(seen[: int(rng.integers(2, 5))], coloured=rng.uniform() < 0.75)
    placed = [f"{thing} {word}" for thing, word in named]
    plain = [thing for thing, _ in named]
    if not named:
        options = [
            f"{article} {place} with {look}",
            f"bare {walls} walls of {article} {place}",
            f"an empty part of {article} {place} with {article_of(floor)} {floor}",
        ]
    else:
        nearest = min(seen[:8], key=lambda s: s.distance)
        thing, word = _phrases([nearest], coloured=True)[0]
        options = [
            f"{article} {place} with {_list(placed)}",
            f"{article} {place} with {look}, {_list(placed)}",
            f"a photo of {article} {place}: {_list(plain)}",
            f"{_list(placed)} in {article} {place}",
            f"{thing} is {word} in {article} {place} with {look}",
            f"a robot sees {_list(placed)} in {article} {place}",
            f"inside {article} {place} with {look}; {thing} is {word}",
        ]
    first, second = rng.permutation(len(options))[:2]
    return _short(options[first]), _short(options[second])


def article_of(words: str) -> str:
    """Returns "an" before a vowel, else "a"."""
    return "an" if words[0] in "aeiou" else "a"


def _short(sentence: str) -> str:
    return " ".join(sentence.split()[:LONGEST])
