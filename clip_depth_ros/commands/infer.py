"""``clip-depth infer``: depth of an image, a folder or a video, without ROS."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from clip_depth_ros.depth.camera import CameraModel
    from clip_depth_ros.depth.estimator import DepthEstimator

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("input", type=Path, metavar="IMAGE|FOLDER|VIDEO", help="what to read")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--camera-info",
        type=Path,
        metavar="FILE",
        help="calibration as camera_info_manager writes it (YAML, pixels); needed for metric scale and point clouds",
    )
    parser.add_argument(
        "--config",
        default="package://clip_depth_ros/config/demo.yaml",
        metavar="FILE",
        help="ROS parameter file (default: the embedded demo model)",
    )
    parser.add_argument("--weights", nargs="+", metavar="FILE", help="weight files; overrides the configuration's")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N; overrides the configuration's")


def run(arguments: argparse.Namespace) -> int:
    """Writes NAME_depth.png (16-bit mm), NAME_depth.npy (float32 m), NAME_colour.png and, calibrated, NAME.ply.

    Raises:
        BadInput: input, weights, calibration or output folder cannot be used.
    """
    from clip_depth_ros.progress import track

    total, pictures = _open(arguments.input)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"The output folder {arguments.output} cannot be made ({error.strerror}).") from error
    camera = _camera(arguments.camera_info)
    estimator = _estimator(arguments)
    count = 0
    for name, rgb in track(pictures, "infer", total):
        _process(estimator, name, rgb, camera, arguments.output)
        count += 1
    if not count:
        raise BadInput(f"{arguments.input} has no picture that can be read.")
    print(f"Wrote depth of {count} picture{'s' * (count > 1)} to {arguments.output}.")
    return 0


def _camera(path: Path | None) -> CameraModel | None:
    if path is None:
        return None
    from clip_depth_ros.depth.camera import CameraModel

    return CameraModel.from_yaml(path)


def _estimator(arguments: argparse.Namespace) -> DepthEstimator:
    from clip_depth_ros.depth.config import EstimatorConfig
    from clip_depth_ros.depth.estimator import DepthEstimator

    config = EstimatorConfig.from_yaml(arguments.config)
    if arguments.weights:
        config = replace(config, weights=tuple(arguments.weights))
    if arguments.device:
        config = replace(config, device=arguments.device)
    return DepthEstimator.from_settings(config)


def _open(source: Path) -> tuple[int | None, Iterator[tuple[str, np.ndarray]]]:
    """Returns how many pictures there are (None if unknown) and them, as (name, RGB uint8 (H, W, 3))."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGES)
        if not files:
            raise BadInput(f"The folder {source} has no images ({', '.join(IMAGES)}).")
        return len(files), ((path.stem, _read_image(path)) for path in files)
    if not source.is_file():
        raise BadInput(f"{source} does not exist: give an image, a folder of images or a video.")
    if source.suffix.lower() in VIDEOS:
        return _open_video(source)
    return 1, iter([(source.stem, _read_image(source))])


def _read_image(path: Path) -> np.ndarray:
    import cv2

    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise BadInput(f"{path} is no image, or it is damaged.")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _open_video(path: Path) -> tuple[int | None, Iterator[tuple[str, np.ndarray]]]:
    import cv2

    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise BadInput(f"{path} is no video that OpenCV can read.")
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))

    def frames() -> Iterator[tuple[str, np.ndarray]]:
        index = 0
        while True:
            good, bgr = video.read()
            if not good:
                return
            yield f"{path.stem}_{index:06d}", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            index += 1

    return (total if total > 0 else None), frames()


def _process(estimator: DepthEstimator, name: str, rgb: np.ndarray, camera: CameraModel | None, output: Path) -> None:
    import cv2
    import numpy as np

    from clip_depth_ros.depth.colour import colourise
    from clip_depth_ros.depth.geometry import depth_edges, points_from_depth
    from clip_depth_ros.depth.masking import millimetres, readings
    from clip_depth_ros.depth.ply import write_ply
    from clip_depth_ros.files import replacing

    if camera is not None and (camera.width, camera.height) != (rgb.shape[1], rgb.shape[0]):
        raise BadInput(
            f"The calibration is for {camera.width}x{camera.height} px, but {name} is {rgb.shape[1]}x{rgb.shape[0]} px."
        )
    prediction = next(iter(estimator.run([rgb], [camera])[0].values()))
    depth = readings(prediction.depth[0].cpu().numpy(), prediction.valid_range)
    for suffix, picture in (("depth", millimetres(depth)), ("colour", colourise(depth)[..., ::-1])):
        with replacing(output / f"{name}_{suffix}.png") as temporary:
            if not cv2.imwrite(str(temporary), picture):
                raise OSError("OpenCV could not write it")
    with replacing(output / f"{name}_depth.npy") as temporary:
        np.save(temporary, depth)
    if camera is not None and camera.is_calibrated:
        # Heads upsample smoothly over edges: without the filter the cloud has points in mid-air.
        kept = np.where(depth_edges(depth, 0.1), np.nan, depth)
        write_ply(output / f"{name}.ply", points_from_depth(kept, camera.rays()), rgb)
