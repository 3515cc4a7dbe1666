"""Several heads on one encode, and which of them is the main one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rig import Rig, depth_array, image, picture, stamp_of
from sensor_msgs.msg import Image

MakeRig = Callable[..., Rig]
HEADS = ["space_clip", "depth_clip"]


@pytest.fixture
def two(make_rig: MakeRig, weights: dict[str, str]) -> Rig:
    """A node with SPACE-CLIP as its main head and DepthCLIP beside it."""
    return make_rig(heads=HEADS, weights=[weights["plain"], weights["words"]])


def expected(rig: Rig, head: str, seed: int = 0) -> np.ndarray:
    return rig.pipeline.network.estimator.run([picture(seed=seed)])[0][head].depth[0].numpy()


def test_every_head_reads_the_same_encode(two: Rig) -> None:
    two.listen(Image, "depth/image", "depth_clip/depth/image", "depth_clip/depth/confidence", "space_clip/depth/image")
    two.send("image", image(3))
    for topic, head in {
        "depth": "space_clip",
        "space_clip/depth": "space_clip",
        "depth_clip/depth": "depth_clip",
    }.items():
        answer = two.answer(f"{topic}/image")
        assert stamp_of(answer) == (3, 7, "camera")
        inside = ~np.isnan(depth_array(answer))
        assert inside.mean() > 0.9
        np.testing.assert_allclose(depth_array(answer)[inside], expected(two, head)[inside], atol=1e-4)
    assert two.encodes[0] == 1
    assert len(two.encodes) == 4  # the node's one, and one for each picture expected above
    confidence = depth_array(two.answer("depth_clip/depth/confidence"))
    assert 0 <= confidence.min() < confidence.max() <= 1


def test_only_the_heads_somebody_hears_run(two: Rig) -> None:
    ran: list[str] = []
    for name, head in two.pipeline.network.estimator.heads.items():
        head.register_forward_hook(lambda *_, name=name: ran.append(name))
    two.listen(Image, "depth_clip/depth/image_color")
    two.send("image", image())
    two.answer("depth_clip/depth/image_color")
    assert ran == ["depth_clip"]


def test_the_main_head_changes_between_two_frames_and_none_is_lost(two: Rig) -> None:
    two.listen(Image, "depth/image")
    mains = ["space_clip", "depth_clip", "depth_clip", "space_clip", "depth_clip"]
    for seconds, main in enumerate(mains, 1):
        assert two.set(main_output=main) == []
        two.send("image", image(seconds, seed=seconds))
        answer = two.answer("depth/image", seconds)
        assert stamp_of(answer)[0] == seconds
        inside = ~np.isnan(depth_array(answer))
        np.testing.assert_allclose(depth_array(answer)[inside], expected(two, main, seconds)[inside], atol=1e-4)
    two.status("node", lambda values, status: values["main output"] == "depth_clip")
    assert two.values("camera")["frames dropped for a newer one"] == "0"


def test_a_main_head_that_is_not_loaded_is_refused(two: Rig) -> None:
    assert two.set(main_output="moa") == ["main_output is 'moa': it must be one of heads, space_clip, depth_clip."]
    two.listen(Image, "depth/image")
    two.send("image", image())
    inside = ~np.isnan(depth := depth_array(two.answer("depth/image")))
    np.testing.assert_allclose(depth[inside], expected(two, "space_clip")[inside], atol=1e-4)


def test_heads_of_two_encoders_are_refused_by_name(
    make_rig: MakeRig, weights: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    rig = make_rig(heads=HEADS, weights=[weights["plain"], weights["strange_words"]])
    assert rig.depth_node.pipeline is None
    said = capfd.readouterr().err
    assert "Head depth_clip in" in said
    assert "was trained on encoder tiny (" in said
    assert "but the node's encoder is tiny (" in said


def test_how_coarse_a_zero_shot_head_is_is_said_at_start(
    make_rig: MakeRig, weights: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    make_rig(heads=HEADS, weights=[weights["plain"], weights["words"]])
    assert "Head depth_clip never learnt depth" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected_bins"), [({}, (1.0, 3.0)), ({"depth_clip__bins": [1, 2, 3, 4, 5, 6, 7]}, (1.0, 7.0))]
)
def test_distances_of_the_words_come_from_parameters(
    make_rig: MakeRig, weights: dict[str, str], changes: dict[str, Any], expected_bins: tuple[float, float]
) -> None:
    rig = make_rig(heads=["depth_clip"], weights=[weights["words"], weights["plain"]], **changes)
    rig.listen(Image, "depth/image")
    rig.send("image", image())
    depth = depth_array(rig.answer("depth/image"))
    assert expected_bins[0] <= np.nanmin(depth) < np.nanmax(depth) <= expected_bins[1]
    assert rig.pipeline.network.estimator.heads["depth_clip"].config.valid_range == expected_bins
