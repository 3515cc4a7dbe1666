"""The package as colcon builds it, what it declares, and which of its parts may import which."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from workspace import NAME, REPOSITORY, build_workspace, run_sourced

SHARED_FOLDERS = ("launch", "config", "models")
# The name to import -> the distribution that setup.py asks pip for, where the two differ.
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "open_clip": "open_clip_torch",
    "yaml": "PyYAML",
    "OpenGL": "PyOpenGL",
}
# ROS libraries of the wheels and of every ROS installation that rclpy itself depends on.
WITH_RCLPY = {"rpyutils"}
# Dependencies go benchmark -> replay -> ros -> messages, depth; only the command line knows the commands.
_ABOVE_ROS = (f"{NAME}.replay", f"{NAME}.benchmark", f"{NAME}.commands")
_ABOVE_MESSAGES = (f"{NAME}.ros", *_ABOVE_ROS)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def prefix(workspace: Path) -> Path:
    return workspace / "install" / NAME


@pytest.fixture(scope="module")
def built(prefix: Path) -> metadata.Distribution:
    """What setup.py declares, read from what colcon installed."""
    (site_packages,) = prefix.glob("lib/python*/site-packages")
    (distribution,) = metadata.distributions(path=[str(site_packages)])
    return distribution


@pytest.fixture(scope="module")
def package_xml() -> ElementTree.Element:
    return ElementTree.parse(REPOSITORY / "package.xml").getroot()


@pytest.mark.parametrize("executable", ["depth_node", "replay_node"])
def test_ros2_run_finds_the_executables(prefix: Path, executable: str) -> None:
    script = prefix / "lib" / NAME / executable
    assert script.is_file()
    assert os.access(script, os.X_OK)


def test_every_shared_file_is_installed(prefix: Path) -> None:
    share = prefix / "share" / NAME
    for folder in SHARED_FOLDERS:
        sources = {path.relative_to(REPOSITORY) for path in _files(REPOSITORY / folder)}
        assert sources, f"{folder}/ holds nothing"
        assert {path.relative_to(share) for path in _files(share / folder)} == sources
    assert (share / "package.xml").is_file()
    assert (prefix / "share/ament_index/resource_index/packages" / NAME).is_file()


def test_the_sourced_workspace_is_what_python_and_ros_find(workspace: Path, prefix: Path) -> None:
    """colcon leaves AMENT_PREFIX_PATH alone when package.xml is not valid: then ros2 launch finds nothing."""
    code = (
        "import os, clip_depth_ros; from clip_depth_ros.resources import share_path;"
        "print(os.environ['AMENT_PREFIX_PATH'], clip_depth_ros.__file__, share_path('config'), sep='\\n')"
    )
    ament_prefix_path, module, config = run_sourced(workspace, [sys.executable, "-c", code]).splitlines()
    assert str(prefix) in ament_prefix_path.split(os.pathsep)
    assert module.startswith(str(prefix))
    assert Path(config) == prefix / "share" / NAME / "config"


def test_installed_executables_run(workspace: Path) -> None:
    assert "usage: clip-depth" in run_sourced(workspace, [f"install/{NAME}/lib/{NAME}/clip-depth", "--help"])


def test_versions_agree(built: metadata.Distribution, package_xml: ElementTree.Element) -> None:
    import clip_depth_ros

    assert package_xml.findtext("version") == built.version == clip_depth_ros.__version__


def test_package_xml_names_what_a_robot_needs(package_xml: ElementTree.Element) -> None:
    assert package_xml.get("format") == "3"
    assert package_xml.findtext("export/build_type") == "ament_python"
    assert _run_dependencies(package_xml) >= {
        "rclpy",
        "sensor_msgs",
        "std_msgs",
        "diagnostic_msgs",
        "lifecycle_msgs",
        "cv_bridge",
        "launch",
        "launch_ros",
    }


def test_every_import_is_declared(built: metadata.Distribution, package_xml: ElementTree.Element) -> None:
    """What is imported comes with Python, or package.xml (rosdep) or setup.py (pip) says where it comes from."""
    required = {_distribution(requirement) for requirement in built.requires or []}
    declared = _run_dependencies(package_xml) | WITH_RCLPY
    undeclared = {
        f"{path.relative_to(REPOSITORY)}: {module}"
        for folder in (NAME, "clip_depth_training", "launch")
        for path, module in _imports(REPOSITORY / folder)
        if not module.startswith((NAME, "clip_depth_training"))
        and module.split(".")[0] not in sys.stdlib_module_names | declared
        and _normalised(DISTRIBUTIONS.get(module.split(".")[0], module.split(".")[0])) not in required
    }
    assert not undeclared


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        (f"{NAME}/depth", (f"{NAME}.messages", *_ABOVE_MESSAGES, "clip_depth_training", "rclpy")),
        (f"{NAME}/messages", (*_ABOVE_MESSAGES, "clip_depth_training", "rclpy")),
        (f"{NAME}/ros", (*_ABOVE_ROS, "clip_depth_training", "socket", "urllib", "http", "requests")),
        (f"{NAME}/replay", (f"{NAME}.benchmark", f"{NAME}.commands")),
        (f"{NAME}/benchmark", (f"{NAME}.commands",)),
        (NAME, ("clip_depth_training",)),
        ("clip_depth_training", (f"{NAME}.ros", f"{NAME}.benchmark", "rclpy")),
    ],
)
def test_dependencies_point_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}: {module}"
        for path, module in _imports(REPOSITORY / folder)
        if any(module == name or module.startswith(f"{name}.") for name in forbidden)
    ]
    assert not found


_WATCH = """
import importlib, pkgutil, sys

class Watch:
    tried = []
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in UNWANTED:
            self.tried.append(name)
            raise ImportError(name)

sys.meta_path.insert(0, Watch())
"""


def test_depth_needs_no_ros() -> None:
    """Every module of clip_depth_ros.depth loads on a machine without ROS, and none looks for it."""
    code = (
        "UNWANTED = ('rclpy', 'sensor_msgs', 'std_msgs', 'rcl_interfaces', 'ament_index_python', 'launch_ros')"
        + _WATCH
        + "import clip_depth_ros.depth as depth\n"
        "for module in pkgutil.walk_packages(depth.__path__, 'clip_depth_ros.depth.'):\n"
        "    importlib.import_module(module.name)\n"
        "assert not Watch.tried, Watch.tried\n"
    )
    _run_python(code)


def test_the_benchmark_needs_ros_and_its_own_extra_only_where_it_uses_them() -> None:
    """All parts but the other side of the node load without ROS, plots and the reference's encoder."""
    code = (
        "UNWANTED = ('rclpy', 'sensor_msgs', 'std_msgs', 'diagnostic_msgs', 'matplotlib', 'transformers')"
        + _WATCH
        + "import clip_depth_ros.benchmark as benchmark\n"
        "for module in pkgutil.walk_packages(benchmark.__path__, 'clip_depth_ros.benchmark.'):\n"
        "    if module.name != 'clip_depth_ros.benchmark.client':\n"
        "        importlib.import_module(module.name)\n"
        "assert not Watch.tried, Watch.tried\n"
    )
    _run_python(code)


def test_launch_files_need_no_python_package() -> None:
    """``ros2 launch`` is the system's Python, which does not see the environment that has PyTorch."""
    code = (
        "UNWANTED = ('torch', 'numpy', 'cv2', 'yaml', 'rich', 'safetensors', 'rclpy')"
        + _WATCH
        + "import clip_depth_ros.resources, clip_depth_ros.ros.fastdds\n"
        "clip_depth_ros.ros.fastdds.profile_environment({})\n"
        "assert not Watch.tried, Watch.tried\n"
    )
    _run_python(code)
    used = {module for _, module in _imports(REPOSITORY / "launch") if module.startswith(NAME)}
    assert used
    assert {module.rpartition(".")[0] for module in used} <= {
        f"{NAME}.errors",
        f"{NAME}.resources",
        f"{NAME}.ros.fastdds",
    }


def test_help_does_not_load_torch() -> None:
    code = (
        "UNWANTED = ('torch', 'open_clip', 'rclpy', 'cv2')" + _WATCH + "from clip_depth_ros.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not Watch.tried, Watch.tried\n"
    )
    assert "infer" in _run_python(code)


def _run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def _run_dependencies(package_xml: ElementTree.Element) -> set[str]:
    return {element.text or "" for tag in ("depend", "exec_depend") for element in package_xml.iter(tag)}


def _imports(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields each file of a folder with each absolute module name it imports, wherever in the file that is."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert not node.level, f"{path}: relative import"
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def _distribution(requirement: str) -> str:
    """Returns the normalised name in a requirement such as ``ros-rclpy[fastrtps]>=9.1``."""
    name = requirement
    for end in "[<>=!~; ":
        name = name.partition(end)[0]
    return _normalised(name)


def _normalised(name: str) -> str:
    return name.replace("_", "-").lower()
