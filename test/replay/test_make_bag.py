from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from rgbd_data import DEPTH_STAMPS, STAMPS, write_scannet, write_trajectory, write_tum

from clip_depth_ros.cli import main
from clip_depth_ros.commands import make_bag as command
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.ground_truth.pairing import pair
from clip_depth_ros.replay.ground_truth.plan import DEPTH_TOLERANCE_S
from clip_depth_ros.replay.make_bag import make_bag
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.rgbd_folder import RgbdFolder

REAL_FOLDERS = (
    "rgbd_hololens_rooms",
    "rgbd_sun3d_cubicles_1",
    "rgbd_tum_fr2_desk_slambook",
    "rgbd_open3d_tum_office",
)
YAML = """
image_width: 32
image_height: 24
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [30.0, 0, 15.5, 0, 31.0, 11.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0.001, 0.002, 0.0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [29.0, 0, 15.0, 0, 0, 30.0, 11.0, 0, 0, 0, 1, 0]}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three pictures of 32x24 with depth of 5000 units a metre."""
    root = tmp_path / "scene"
    rng = np.random.default_rng(3)
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    for index in (1, 2, 10):
        cv2.imwrite(str(root / "rgb" / f"{index}.png"), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        depth = rng.integers(0, 40000, (24, 32), dtype=np.uint16)
        depth[0, :5] = 0
        cv2.imwrite(str(root / "depth" / f"{index}_depth.png"), depth)
    intrinsics = {"fx": 30, "fy": 31, "cx": 15.5, "cy": 11.5, "depth_scale_units_per_metre": 5000}
    (root / "intrinsics.json").write_text(json.dumps(intrinsics))
    return root


def _content(bag: Path):
    with BagReader(bag) as reader:
        return {name: [reader.decode(one) for one in reader.messages([name])] for name in reader.topics}, [
            (one.topic, one.time_ns, 0 if one.topic == "/tf" else header_stamp_ns(one.data))
            for one in reader.messages()
        ]


def _rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
@pytest.mark.parametrize("name", REAL_FOLDERS)
def test_real_folder_into_a_bag_and_back(shared_real, tmp_path, name, encoding):
    source = shared_real / name
    made = make_bag(source, tmp_path / "bag", 30.0, depth_encoding=encoding)
    pictures, depths = (sorted((source / kind).iterdir()) for kind in ("rgb", "depth"))
    intrinsics = json.loads((source / "intrinsics.json").read_text())
    topics, times = _content(tmp_path / "bag")
    assert made.frames == len(pictures)
    poses = {"/tf"} if name in ("rgbd_hololens_rooms", "rgbd_sun3d_cubicles_1") else set()
    assert set(made.topics) == set(topics) == poses | {"/camera/image", "/camera/camera_info", "/camera/depth/image"}
    assert made.notes == ()
    for index, picture in enumerate(pictures):
        image, depth = topics["/camera/image"][index], topics["/camera/depth/image"][index]
        np.testing.assert_array_equal(image.data.reshape(image.height, image.width, 3), _rgb(picture))
        raw = cv2.imread(str(depths[index]), cv2.IMREAD_UNCHANGED)
        metres = raw / np.float64(intrinsics["depth_scale_units_per_metre"])
        found = depth_metres(depth)
        np.testing.assert_array_equal(np.isnan(found), raw == 0)
        tolerance = 0.5e-3 if encoding == "16UC1" else 1e-6
        np.testing.assert_allclose(found[raw > 0], metres[raw > 0], atol=tolerance * 1.001, rtol=1e-6)
        assert image.header == depth.header == topics["/camera/camera_info"][index].header
        assert image.header.frame_id == "camera_optical_frame"
    info = topics["/camera/camera_info"][0]
    assert (info.width, info.height) == (intrinsics["width"], intrinsics["height"])
    np.testing.assert_allclose(
        info.k, [intrinsics["fx"], 0, intrinsics["cx"], 0, intrinsics["fy"], intrinsics["cy"], 0, 0, 1]
    )
    np.testing.assert_allclose(info.p.reshape(3, 4)[:, :3].reshape(-1), info.k)
    stamps = [stamp for topic, _, stamp in times if topic == "/camera/image"]
    np.testing.assert_allclose(np.diff(stamps), 1e9 / 30, atol=1)
    assert all(time == stamp for topic, time, stamp in times if topic != "/tf")
    if poses:
        _check_transforms(source, topics, [time for topic, time, _ in times if topic == "/tf"])


def _check_transforms(source: Path, topics: dict, times: list[int]) -> None:
    """Compares /tf with the files, read here by hand."""
    if (source / "pose").is_dir():
        matrices = [np.loadtxt(path) for path in sorted((source / "pose").iterdir())]
    else:
        rows = (line.split()[1:] for line in (source / "poses_selected.txt").read_text().splitlines())
        matrices = [np.array(row, np.float64).reshape(4, 4) for row in rows]
    assert len(matrices) == len(topics["/tf"]) == len(topics["/camera/image"])
    for matrix, message, picture, time in zip(matrices, topics["/tf"], topics["/camera/image"], times, strict=True):
        (one,) = message.transforms
        assert (one.header.frame_id, one.child_frame_id) == ("map", "camera_optical_frame")
        assert one.header.stamp == picture.header.stamp
        assert time == one.header.stamp.sec * 10**9 + one.header.stamp.nanosec
        place, q = one.transform.translation, one.transform.rotation
        np.testing.assert_allclose([place.x, place.y, place.z], matrix[:3, 3])
        # The third column of a quaternion's matrix: where the camera looks.
        forward = [2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x**2 + q.y**2)]
        np.testing.assert_allclose(forward, matrix[:3, 2], atol=1e-3)


def test_frames_come_in_the_order_of_their_numbers_and_keep_their_pairs(folder, tmp_path):
    make_bag(folder, tmp_path / "bag")
    topics, _ = _content(tmp_path / "bag")
    for index, number in enumerate((1, 2, 10)):
        np.testing.assert_array_equal(
            topics["/camera/image"][index].data.reshape(24, 32, 3), _rgb(folder / "rgb" / f"{number}.png")
        )
        raw = cv2.imread(str(folder / "depth" / f"{number}_depth.png"), cv2.IMREAD_UNCHANGED)
        millimetres = topics["/camera/depth/image"][index].data.view(np.uint16).reshape(24, 32)
        np.testing.assert_array_equal(millimetres, np.rint(raw / 5.0).astype(np.uint16))


def test_stamps_start_where_asked_and_the_namespace_is_used(folder, tmp_path):
    make_bag(folder, tmp_path / "bag", 4.0, start_time_s=12.5, namespace="/robot/front/")
    _, times = _content(tmp_path / "bag")
    assert [one for one in times if one[0] == "/robot/front/image"] == [
        ("/robot/front/image", stamp, stamp) for stamp in (12_500_000_000, 12_750_000_000, 13_000_000_000)
    ]


def test_depth_beyond_16_bit_millimetres_is_no_reading(folder, tmp_path):
    shutil.rmtree(folder / "depth")
    (folder / "depth").mkdir()
    for name in (1, 2, 10):
        depth = np.full((24, 32), 70.0, np.float32)
        depth[0], depth[1], depth[2], depth[3] = 65.535, np.nan, -1.0, np.inf
        np.save(folder / "depth" / f"{name}.npy", depth)
    make_bag(folder, tmp_path / "bag")
    topics, _ = _content(tmp_path / "bag")
    found = topics["/camera/depth/image"][0].data.view(np.uint16).reshape(24, 32)
    assert (found[0] == 65535).all()
    assert (found[1:] == 0).all()


def test_calibration_from_yaml_with_its_distortion(folder, tmp_path):
    (folder / "intrinsics.json").unlink()
    shutil.rmtree(folder / "depth")
    (folder / "camera_info.yaml").write_text(YAML)
    made = make_bag(folder, tmp_path / "bag")
    assert set(made.topics) == {"/camera/image", "/camera/camera_info"}
    info = _content(tmp_path / "bag")[0]["/camera/camera_info"][0]
    assert info.distortion_model == "plumb_bob"
    np.testing.assert_allclose(info.d, [-0.1, 0.01, 0.001, 0.002, 0.0])
    np.testing.assert_allclose(info.p, [29.0, 0, 15.0, 0, 0, 30.0, 11.0, 0, 0, 0, 1, 0])


def test_pictures_alone_give_a_bag_without_camera_info(folder, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([str(folder / "rgb"), "-o", str(tmp_path / "bag"), "--rate", "5"])
    assert command.run(arguments) == 0
    output = capsys.readouterr()
    assert "3 frames, 0.6 s, on /camera/image" in output.out
    assert "no camera_info" in output.err
    assert set(_content(tmp_path / "bag")[0]) == {"/camera/image"}


def test_folders_can_be_named_one_by_one(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("rgb", "depth", "intrinsics.json"):
        shutil.move(folder / name, elsewhere / name)
    made = make_bag(
        folder,
        tmp_path / "bag",
        rgb=elsewhere / "rgb",
        depth=elsewhere / "depth",
        intrinsics=elsewhere / "intrinsics.json",
        depth_scale=1000.0,
    )
    assert len(made.topics) == 3
    raw = cv2.imread(str(elsewhere / "depth" / "1_depth.png"), cv2.IMREAD_UNCHANGED)
    found = _content(tmp_path / "bag")[0]["/camera/depth/image"][0].data.view(np.uint16).reshape(24, 32)
    np.testing.assert_array_equal(found, raw)


def test_real_stamps_are_kept_unless_a_rate_is_given(tmp_path):
    root = write_tum(tmp_path / "tum")
    write_trajectory(root / "groundtruth.txt")
    (root / "intrinsics.json").write_text(json.dumps({"fx": 30, "fy": 30, "cx": 16, "cy": 12}))
    made = make_bag(root, tmp_path / "real")
    topics, times = _content(tmp_path / "real")
    exact = [int(stamp.replace(".", "")) * 1000 for stamp in STAMPS]
    for topic in ("/camera/image", "/camera/camera_info"):
        assert [(time, stamp) for name, time, stamp in times if name == topic] == [(one, one) for one in exact]
    assert [time for name, time, _ in times if name == "/tf"] == exact
    found = [stamp for name, _, stamp in times if name == "/camera/depth/image"]
    assert found == [int(stamp.replace(".", "")) * 1000 for stamp in DEPTH_STAMPS[:2]]
    assert made.duration_s == pytest.approx(0.100022 * 3 / 2)
    assert [message.data.view(np.uint16)[0] for message in topics["/camera/depth/image"]] == [1000, 2000]

    make_bag(root, tmp_path / "even", 20.0)
    times = _content(tmp_path / "even")[1]
    expected = [1_700_000_000_000_000_000 + index * 50_000_000 for index in range(3)]
    assert [stamp for name, _, stamp in times if name == "/camera/image"] == expected
    assert [stamp for name, _, stamp in times if name == "/camera/depth/image"] == expected[:2]

    make_bag(root, tmp_path / "moved", start_time_s=100.0)
    times = _content(tmp_path / "moved")[1]
    assert [stamp for name, _, stamp in times if name == "/camera/image"] == [
        100 * 10**9 + stamp - exact[0] for stamp in exact
    ]


def test_made_bag_has_the_truth_that_the_replay_pairs(tmp_path):
    """The pairing of make-bag and that of the replay agree, also where depth keeps stamps of its own."""
    root = write_tum(tmp_path / "tum")
    (root / "k.txt").write_text("30 30 16 12")
    make_bag(root, tmp_path / "bag", intrinsics=root / "k.txt")
    stamps = {}
    for topic, _, stamp in _content(tmp_path / "bag")[1]:
        stamps.setdefault(topic, []).append(stamp)
    pairs = pair(np.array(stamps["/camera/image"]), np.array(stamps["/camera/depth/image"]), DEPTH_TOLERANCE_S)
    assert (pairs.pictures.tolist(), pairs.partners.tolist()) == ([0, 1], [0, 1])


def test_scannet_s_export_becomes_a_registered_bag(tmp_path, capsys):
    write_scannet(tmp_path / "scene")
    arguments = ["make-bag", str(tmp_path / "scene"), "-o", str(tmp_path / "bag"), "--depth-encoding", "32FC1"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert "3 frames, 0.3 s, on /tf, /camera/camera_info, /camera/image, /camera/depth/image" in output.out
    assert "1 poses are none" in output.err
    assert "16x12 was put on the pictures' 32x24 pixels" in output.err
    topics, times = _content(tmp_path / "bag")
    assert (len(topics["/tf"]), len(topics["/camera/depth/image"])) == (2, 3)
    stamps = [stamp for name, _, stamp in times if name == "/camera/image"]
    assert [time for name, time, _ in times if name == "/tf"] == [stamps[0], stamps[2]]
    source = RgbdFolder.find(tmp_path / "scene")
    np.testing.assert_array_equal(depth_metres(topics["/camera/depth/image"][1]), source.load(1)[1])


def test_the_command_takes_folders_instead_of_a_folder(folder, tmp_path, capsys):
    words = ["make-bag", "--rgb", str(folder / "rgb"), "--depth", str(folder / "depth")]
    words += ["--intrinsics", str(folder / "intrinsics.json"), "-o", str(tmp_path / "bag"), "--rate", "5"]
    assert main(words) == 0
    assert "3 frames, 0.6 s, on /camera/camera_info, /camera/image, /camera/depth/image" in capsys.readouterr().out
    make_bag(folder, tmp_path / "same", 5.0)
    with BagReader(tmp_path / "bag") as one, BagReader(tmp_path / "same") as other:
        assert list(one.messages()) == list(other.messages())
    assert main(["make-bag", "-o", str(tmp_path / "none")]) == 2
    assert "name them with --rgb" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def _break(folder: Path, how: str) -> None:
    rgb, depth = folder / "rgb", folder / "depth"
    if how == "one depth less":
        (depth / "2_depth.png").unlink()
    elif how == "another name":
        (depth / "2_depth.png").rename(depth / "3_depth.png")
    elif how == "no pictures":
        shutil.rmtree(rgb)
        rgb.mkdir()
    elif how == "no depth pictures":
        shutil.rmtree(depth)
        depth.mkdir()
    elif how == "damaged picture":
        (rgb / "2.png").write_bytes(b"no picture")
    elif how == "damaged depth":
        (depth / "2_depth.png").write_bytes(b"no picture")
    elif how == "8-bit depth":
        cv2.imwrite(str(depth / "2_depth.png"), np.ones((24, 32), np.uint8))
    elif how == "depth of another size":
        cv2.imwrite(str(depth / "2_depth.png"), np.ones((24, 30), np.uint16))
    elif how == "picture of another size":
        cv2.imwrite(str(rgb / "2.png"), np.ones((20, 32, 3), np.uint8))
    elif how == "no focal length":
        (folder / "intrinsics.json").write_text('{"fx": 30}')
    elif how == "no JSON":
        (folder / "intrinsics.json").write_text("fx: 30")
    elif how == "zero scale":
        text = (folder / "intrinsics.json").read_text().replace("5000", "0")
        (folder / "intrinsics.json").write_text(text)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("one depth less", r"rgb holds 3 pictures, but .*depth holds 2"),
        ("another name", r"2\.png has no depth picture of its name"),
        ("no pictures", r"rgb holds no pictures"),
        ("no depth pictures", r"depth holds no depth pictures"),
        ("damaged picture", r"2\.png cannot be read as a picture"),
        ("damaged depth", r"2_depth\.png cannot be read as a picture"),
        ("8-bit depth", r"2_depth\.png is uint8"),
        ("depth of another size", r"2_depth\.png is 30x24, but 2\.png is 32x24"),
        ("picture of another size", r"2\.png is 32x20, but its calibration is for 32x24"),
        ("no focal length", r"intrinsics\.json is not an intrinsics file \(KeyError: 'fy'\)"),
        ("no JSON", r"intrinsics\.json is not an intrinsics file"),
        ("zero scale", r"depth scale is 0\.0"),
    ],
)
def test_bad_folders_are_bad_input_and_leave_nothing(folder, tmp_path, how, sentence):
    _break(folder, how)
    with pytest.raises(BadInput, match=sentence):
        make_bag(folder, tmp_path / "out" / "bag")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_bad_settings_are_bad_input(folder, tmp_path):
    with pytest.raises(BadInput, match="rate is 0"):
        make_bag(folder, tmp_path / "bag", 0.0)
    with pytest.raises(BadInput, match="depth encoding is 8UC1"):
        make_bag(folder, tmp_path / "bag", depth_encoding="8UC1")
    with pytest.raises(BadInput, match="not a folder"):
        make_bag(tmp_path / "absent", tmp_path / "bag")
    with pytest.raises(BadInput, match=r"other\.json does not exist"):
        make_bag(folder, tmp_path / "bag", intrinsics=folder / "other.json")
    for start in (-1.0, float("nan"), 2.0**31):
        with pytest.raises(BadInput, match="start time is"):
            make_bag(folder, tmp_path / "bag", start_time_s=start)
    with pytest.raises(BadInput, match="beyond the year 2038"):
        make_bag(folder, tmp_path / "bag", 1e-9)
    with pytest.raises(BadInput, match="is no ROS name"):
        make_bag(folder, tmp_path / "bag", namespace="/my camera")
    assert not (tmp_path / "bag").exists()
    make_bag(folder, tmp_path / "bag")
    with pytest.raises(BadInput, match="exists already"):
        make_bag(folder, tmp_path / "bag")
    assert make_bag(folder, tmp_path / "bag", overwrite=True).frames == 3
