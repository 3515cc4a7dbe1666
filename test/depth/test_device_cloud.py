"""Points made where the network runs are those that are made of its depth afterwards."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from networks import tiny_encoder, tiny_head

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.cloud import PointGrid
from clip_depth_ros.depth.device_cloud import CloudOptions, DeviceRays, find_edges, make_points
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.geometry import depth_edges
from clip_depth_ros.depth.masking import readings
from clip_depth_ros.errors import BadInput

CPU = torch.device("cpu")
HEIGHT, WIDTH = 60, 80
PINHOLE = CameraModel.pinhole(WIDTH, HEIGHT, 50.0, 52.0, 31.0, 25.0)
# So wide that the corners have no ray.
FISHEYE = CameraModel(
    WIDTH, HEIGHT, np.array([[22.0, 0, 39.5], [0, 22.0, 29.5], [0, 0, 1]]), "equidistant", np.zeros(4)
)


def scene(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Slanted planes with steps between them, a hole, and what is no depth; and colours that are all different."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0.5, 9.0, (5, 6)).astype(np.float32)
    blocks = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    slant = cv2.resize(generator.uniform(0.8, 1.4, (3, 3)).astype(np.float32), (width, height))
    depth = blocks * slant
    depth[height // 4 : height // 3, width // 4 : width // 3] = np.nan
    depth[0, 0], depth[1, 1], depth[2, 2] = 0.0, np.inf, -1.0
    return depth, generator.integers(0, 256, (height, width, 3), np.uint8)


def of_the_depth(depth: np.ndarray, rgb: np.ndarray, camera: CameraModel, options: CloudOptions) -> np.ndarray:
    grid = PointGrid(camera, options.stride, options.minimum, options.maximum, options.edge_threshold)
    points = np.empty((*grid.shape, 4), np.float32)
    grid.write(depth, rgb, points)
    return points


def agree(actual: np.ndarray, expected: np.ndarray) -> None:
    """The same points to the last bits but one; at most one pixel in a thousand sits on a threshold."""
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(actual[..., 3].view(np.uint32), expected[..., 3].view(np.uint32))
    found, wanted = np.isfinite(actual[..., 2]), np.isfinite(expected[..., 2])
    assert 0 < wanted.mean() < 1
    assert (found != wanted).mean() <= 1e-3
    both = found & wanted
    np.testing.assert_allclose(actual[..., :3][both], expected[..., :3][both], rtol=1e-6)
    assert np.isnan(actual[..., :3][~found]).all()


@pytest.mark.parametrize("camera", [PINHOLE, FISHEYE], ids=["pinhole", "fisheye"])
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"stride": 3},
        {"minimum": 1.0, "maximum": 4.0},
        {"edge_threshold": 0.05},
        {"edge_threshold": 0.1, "stride": 2, "maximum": 6.0, "readings": (0.7, 7.0)},
    ],
    ids=str,
)
def test_points_are_those_of_the_grid(camera: CameraModel, choices: dict[str, float]) -> None:
    options = CloudOptions(("head",), **choices)
    head_range = (0.6, 8.0)
    scenes = [scene(seed) for seed in (0, 1)]
    rays = DeviceRays(CPU).get((HEIGHT, WIDTH), camera)
    depth, rgb = (torch.from_numpy(np.stack(part)) for part in zip(*scenes))
    made = make_points(depth, rgb, torch.stack([rays, rays]), options, head_range).numpy()
    limits = (max(head_range[0], options.readings[0]), min(head_range[1], options.readings[1]))
    for points, (own, colours) in zip(made, scenes):
        agree(points, of_the_depth(readings(own, limits), colours, camera, options))


@pytest.mark.parametrize("size", [(60, 80), (9, 40), (8, 8), (5, 3)])
def test_edges_are_those_of_the_finder(size: tuple[int, int]) -> None:
    depths = np.stack([scene(seed, *size)[0] for seed in range(4)])
    found = find_edges(torch.from_numpy(depths), 0.05).numpy()
    expected = np.stack([depth_edges(depth, 0.05) for depth in depths])
    assert expected.any()
    assert (found != expected).mean() <= 1e-3


def test_what_a_rectified_picture_does_not_show_is_no_reading() -> None:
    depth, rgb = scene()
    outside = np.zeros((HEIGHT, WIDTH), bool)
    outside[:, :7] = True
    options = CloudOptions(("head",), edge_threshold=0.05)
    rays = DeviceRays(CPU).get((HEIGHT, WIDTH), PINHOLE, outside)
    made = make_points(torch.from_numpy(depth)[None], torch.from_numpy(rgb)[None], rays[None], options, (0.1, 20.0))
    shown = np.where(outside, np.float32(np.nan), readings(depth, (0.1, 20.0)))
    agree(made[0].numpy(), of_the_depth(shown, rgb, PINHOLE, options))


def test_rays_are_brought_once() -> None:
    rays = DeviceRays(CPU)
    first = rays.get((HEIGHT, WIDTH), PINHOLE)
    assert rays.get((HEIGHT, WIDTH), PINHOLE) is first
    assert rays.get((HEIGHT, WIDTH), PINHOLE, np.zeros((HEIGHT, WIDTH), bool)) is not first
    for focal in range(50, 80):  # cameras that were used once are forgotten
        rays.get((HEIGHT, WIDTH), CameraModel.pinhole(WIDTH, HEIGHT, focal, focal, 31.0, 25.0))
    again = rays.get((HEIGHT, WIDTH), PINHOLE)
    assert again is not first
    torch.testing.assert_close(again, first)
    assert rays.get((2, 3), None).isnan().all()
    with pytest.raises(BadInput, match="a camera of 40x30 but got 80x60"):
        rays.get((30, 40), PINHOLE)


def test_an_estimator_gives_the_points_of_every_picture_whose_camera_is_known() -> None:
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head(), "other": tiny_head(seed=1)}, "cpu")
    sizes = [(HEIGHT, WIDTH), (32, 48), (HEIGHT, WIDTH)]
    pictures = [scene(seed, *size)[1] for seed, size in enumerate(sizes)]
    cameras = [PINHOLE, None, FISHEYE]
    options = CloudOptions(("other",), edge_threshold=0.05, stride=2)
    results = estimator.run(pictures, cameras, clouds=[options] * 3)
    assert all(set(result.clouds) == {"other"} for result in results)
    assert results[1].clouds["other"].shape == (1, 16, 24, 4)
    assert results[1].clouds["other"][..., :3].isnan().all()
    for place in (0, 2):
        prediction = results[place]["other"]
        depth = readings(prediction.depth[0].numpy(), prediction.valid_range)
        expected = of_the_depth(depth, pictures[place], cameras[place], options)
        np.testing.assert_allclose(results[place].clouds["other"][0, ..., :3], expected[..., :3], rtol=1e-6)
    assert estimator.run(pictures, cameras)[0].clouds == {}


def test_rays_are_computed_for_pictures_with_points_alone() -> None:
    """They may take seconds, which no frame of another camera shall wait for."""
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head(), "other": tiny_head(seed=1)}, "cpu")
    pictures = [scene(seed)[1] for seed in range(3)]
    cameras = [CameraModel.pinhole(WIDTH, HEIGHT, focal, focal, 31.0, 25.0) for focal in (50.0, 51.0, 52.0)]
    clouds = [CloudOptions(("other",)), None, CloudOptions(("space_clip",))]
    results = estimator.run(pictures, cameras, clouds=clouds)
    assert [set(result.clouds) for result in results] == [{"other"}, set(), {"space_clip"}]
    assert ["_rays" in vars(camera) for camera in cameras] == [True, False, True]
    with pytest.raises(BadInput, match="run these pictures apart"):
        estimator.run(pictures, cameras, clouds=[clouds[0], None, CloudOptions(("other",), stride=2)])
    with pytest.raises(BadInput, match="Points of other need"):
        estimator.run(pictures, cameras, heads=("space_clip",), clouds=[clouds[0], None, None])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_points_of_a_cuda_graph_are_those_of_its_depth() -> None:
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cuda", "fp32", acceleration="cuda_graph")
    options = CloudOptions(("space_clip",), edge_threshold=0.05)
    for seed in range(4):  # eager, captured, replayed
        _, rgb = scene(seed)
        camera = (PINHOLE, FISHEYE)[seed % 2]
        result = estimator.run([rgb], [camera], to_host=True, clouds=[options])[0]
        prediction = result["space_clip"]
        depth = readings(prediction.depth[0].numpy(), prediction.valid_range)
        expected = of_the_depth(depth, rgb, camera, options)
        points = result.clouds["space_clip"][0].numpy()
        assert (np.isfinite(points[..., 2]) != np.isfinite(expected[..., 2])).mean() <= 1e-3
        both = np.isfinite(points[..., 2]) & np.isfinite(expected[..., 2])
        np.testing.assert_allclose(points[..., :3][both], expected[..., :3][both], rtol=1e-5)
        np.testing.assert_array_equal(points[..., 3].view(np.uint32), expected[..., 3].view(np.uint32))
    assert "1 of 1" in estimator.path["acceleration"]
