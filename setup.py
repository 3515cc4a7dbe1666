"""One distribution for pip and for colcon (ament_python): all of its metadata is here."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "clip_depth_ros"


def share(*folders: str) -> list[tuple[str, list[str]]]:
    """Lists the shared files of ``folders`` (recursively) as setuptools' ``data_files``."""
    entries = []
    for folder in folders:
        for directory in [folder, *glob(f"{folder}/**/", recursive=True)]:
            if "__pycache__" in directory:
                continue
            files = [str(path) for path in sorted(Path(directory).iterdir()) if path.is_file()]
            if files:
                entries.append((f"share/{NAME}/{directory.rstrip('/')}", files))
    return entries


ROS_KILTED = [
    "ros-rclpy[fastrtps]>=9.1.2,<9.2",
    "ros-sensor-msgs>=5.5.1,<5.6",
    "ros-std-msgs>=5.5.1,<5.6",
    "ros-diagnostic-msgs>=5.5.1,<5.6",
    "ros-lifecycle-msgs>=2.3,<2.4",
]
BAGS = ["rosbags>=0.10.9,<0.12", "mcap>=1.2,<2", "zstandard>=0.22", "lz4>=4.3", "scipy>=1.11,<2"]
TRAIN = [
    "lightning>=2.4,<3",
    "tensorboard>=2.15,<3",
    "mujoco>=3.3,<5",
    "PyOpenGL>=3.1,<4",
    "h5py>=3.10,<4",
    "filelock>=3.12,<5",
    *BAGS,
]
RERUN = ["rerun-sdk>=0.25,<1"]
ONNX = ["onnx>=1.17,<2", "onnxruntime>=1.19,<2"]
BENCHMARK = ["transformers>=4.45,<6", "matplotlib>=3.8,<4"]
TEST = [
    *ONNX,
    *BENCHMARK,
    *RERUN,
    "pytest>=8,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.5,<4",
    "selenium>=4.20,<5",  # drives Chromium where it is installed: the replay report is a page
    "torchmetrics>=1.4,<2",
    "colcon-common-extensions>=0.3,<1",
]
LINT = ["ruff>=0.8,<1", "mypy>=1.11,<3", "types-PyYAML"]

setup(
    name=NAME,
    version="0.1.0",
    description="Metric depth, point clouds and CLIP tokens from one frozen CLIP encode, for ROS 2.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    if Path(__file__).with_name("README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    maintainer="The clip_depth_ros authors",
    maintainer_email="maintainers@clip-depth-ros.org",
    license="Apache-2.0",
    packages=find_packages(
        include=["clip_depth_ros", "clip_depth_ros.*", "clip_depth_training", "clip_depth_training.*"]
    ),
    package_data={
        "clip_depth_ros": ["py.typed", "replay/page/*.css", "replay/page/*.js"],
        "clip_depth_training": ["py.typed", "recipes/*.yaml"],
    },
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "open_clip_torch>=2.26,<4",
        "numpy>=1.26,<3",
        # 4.12 and later ask for numpy 2, which breaks the cv_bridge of Ubuntu 24.04's other nodes.
        "opencv-python-headless>=4.9,<4.12",
        "safetensors>=0.4.3,<1",
        "PyYAML>=6,<7",
        "rich>=13,<16",
        "plyfile>=1.0,<2",
    ],
    extras_require={
        "ros": ROS_KILTED,
        "replay": BAGS,
        "train": TRAIN,
        "blip2": ["tokenizers>=0.15,<1"],  # prompts of one's own for DepthBLIP-2, at import
        "onnx": ONNX,
        "benchmark": BENCHMARK,  # clip-depth benchmark: its reference and its plots
        "rerun": RERUN,  # clip-depth replay --rerun; needs numpy 2, which Ubuntu 24.04's cv_bridge does not bear
        "test": TEST,
        "lint": LINT,
    },
    entry_points={
        "console_scripts": [
            "clip-depth = clip_depth_ros.cli:main",
            "depth_node = clip_depth_ros.ros.depth_node:main",
            "replay_node = clip_depth_ros.replay.replay_node:main",
            "clip-depth-train = clip_depth_training.cli:main",
        ],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *share("launch", "config", "models"),
    ],
    zip_safe=False,
)
