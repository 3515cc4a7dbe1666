"""``prepare bag`` from recording to data set: depth pixel by pixel against scenes worked out by hand."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_scenes import (
    BASE_FROM_CAMERA,
    BASE_FROM_LIDAR,
    CAMERA_FRAME,
    CENTRE,
    FOCAL,
    HEIGHT,
    LATE,
    MS,
    WIDTH,
    Message,
    calibration,
    cloud,
    image,
    lidar_drive,
    moved,
    odom_from_base,
    picture,
    points_on_pixels,
    sparse_depth,
    static_transforms,
)
from recordings import START_NS, write_bag
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_typestore

from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.reader import BagReader
from clip_depth_training.cli import main
from clip_depth_training.data_sets import open_data_set

ROOMS = Path(__file__).parents[3] / "models" / "demo" / "rooms_bag"


def prepare(bag: Path, output: Path, *options: str) -> dict[str, Any]:
    assert main(["prepare", "bag", str(bag), "-o", str(output), *options]) == 0
    return json.loads((output / "index.json").read_text(encoding="utf-8"))


def refusal(bag: Path, output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["prepare", "bag", str(bag), "-o", str(output), *options]) == 2
    assert not output.exists()
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def stored(folder: Path, number: int, units: float) -> np.ndarray:
    return cv2.imread(str(folder / "depth" / f"{number:06d}.png"), cv2.IMREAD_UNCHANGED) / units


def test_the_shipped_recording(tmp_path):
    index = prepare(ROOMS, tmp_path / "rooms", "--every", "1")
    assert len(index["samples"]) == 10  # 96 pictures at 10 Hz
    assert index["samples"][0]["fx"] == pytest.approx(228.50368)
    assert (index["kind"], index["depth_units_per_metre"], index["intrinsics_distorted"]) == ("bag", 1000, False)
    data = open_data_set(tmp_path / "rooms")
    with BagReader(ROOMS) as reader:
        depths = [reader.decode(one) for one in reader.messages(["/camera/depth/image"])]
        pictures = [reader.decode(one) for one in reader.messages(["/camera/image"])]
    for number in range(10):
        sample = data.sample(number)
        expected = np.nan_to_num(depth_metres(depths[10 * number]), nan=0)
        np.testing.assert_allclose(sample.depth, expected, atol=1e-6)
        np.testing.assert_array_equal(sample.image.ravel(), pictures[10 * number].data)


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
def test_lidar_points_fall_on_their_pixels_though_the_robot_moved(tmp_path, storage):
    messages, truths = lidar_drive()
    bag = write_bag(tmp_path / "bag", messages, storage)
    index = prepare(bag, tmp_path / "set", "--fixed-frame", "odom", "--every", "0")
    assert len(index["samples"]) == 10
    assert index["depth_units_per_metre"] == 256
    assert index["depth_range_m"] == [0.5, 80.0]
    sample = index["samples"][0]
    assert [sample[name] for name in ("fx", "fy", "cx", "cy")] == [FOCAL, FOCAL, *CENTRE]
    for number, truth in enumerate(truths):
        found = stored(tmp_path / "set", number, 256)
        np.testing.assert_array_equal(found > 0, truth > 0)
        np.testing.assert_allclose(found, truth, atol=0.6 / 256)


def test_without_a_fixed_frame_the_same_time_counts(tmp_path):
    messages, truths = lidar_drive(0.4)
    prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set", "--every", "0", "--occlusion", "0")
    motion = np.linalg.inv(odom_from_base(START_NS + 50 * MS + LATE)) @ odom_from_base(START_NS + 50 * MS)
    seen = np.linalg.inv(BASE_FROM_CAMERA) @ motion @ BASE_FROM_CAMERA  # where the points are without compensation
    points = moved(seen, points_on_pixels(truths[0]))
    columns = np.rint(points[:, 0] / points[:, 2] * FOCAL + CENTRE[0]).astype(int)
    rows = np.rint(points[:, 1] / points[:, 2] * FOCAL + CENTRE[1]).astype(int)
    inside = (columns >= 0) & (columns < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[rows[inside], columns[inside]] = points[inside, 2]
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 256), expected, atol=0.6 / 256)
    assert np.abs(expected - truths[0]).max() > 1


def test_extrinsics_from_a_file_instead_of_tf(tmp_path):
    truth = sparse_depth(1)
    camera_from_lidar = np.linalg.inv(BASE_FROM_CAMERA) @ BASE_FROM_LIDAR
    scan = moved(np.linalg.inv(camera_from_lidar), points_on_pixels(truth))
    messages = [
        ("/front/camera_info", START_NS, calibration(START_NS)),
        ("/front/image", START_NS, picture(START_NS)),
        ("/points", START_NS, cloud(START_NS, scan, ">f8")),
    ]
    file = tmp_path / "extrinsics.json"
    file.write_text(json.dumps({"matrix": camera_from_lidar.tolist()}))
    bag = write_bag(tmp_path / "bag", messages)
    prepare(bag, tmp_path / "set", "--extrinsics", str(file), "--depth-range", "1", "60")
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 1000), truth, atol=0.6 / 1000)


def test_neighbouring_scans_are_put_together(tmp_path):
    def interleaved(number: int) -> np.ndarray:
        depth = np.zeros((HEIGHT, WIDTH))
        depth[10, 8 + 16 * (number % 3)] = 5.0 + number
        return depth

    messages, truths = lidar_drive(0.9, interleaved)
    options = ("--fixed-frame", "odom", "--every", "0", "--accumulate", "3")
    prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set", *options)
    found = stored(tmp_path / "set", 4, 256)
    time = START_NS + 50 * MS + 400 * MS
    for number in (3, 4, 5):
        then = odom_from_base(START_NS + 50 * MS + number * 100 * MS)
        seen = np.linalg.inv(odom_from_base(time) @ BASE_FROM_CAMERA) @ then @ BASE_FROM_CAMERA
        ((x, y, z),) = moved(seen, points_on_pixels(truths[number]))
        column, row = round(x / z * FOCAL + CENTRE[0]), round(y / z * FOCAL + CENTRE[1])
        assert found[row, column] == pytest.approx(z, abs=0.6 / 256)
    assert np.count_nonzero(found) == 3
    assert np.count_nonzero(stored(tmp_path / "set", 0, 256)) == 2  # the first has no neighbour before it


def test_lens_distortion_moves_points_and_is_noted(tmp_path):
    lens = (-0.3, 0.08, 0.002, -0.001, 0.0)
    points = points_on_pixels(sparse_depth(2))
    pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), calibration(0).k.reshape(3, 3), np.array(lens))[0]
    messages = [
        ("/front/camera_info", START_NS, calibration(START_NS, distortion=lens)),
        ("/front/image", START_NS, picture(START_NS)),
        ("/points", START_NS, cloud(START_NS, points, "<f8", frame=CAMERA_FRAME)),
        static_transforms(),
    ]
    index = prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set", "--occlusion", "0")
    assert index["intrinsics_distorted"] is True
    found = stored(tmp_path / "set", 0, 256)
    for (column, row), depth in zip(np.rint(pixels[:, 0]).astype(int).tolist(), points[:, 2]):
        assert found[row, column] == pytest.approx(depth, abs=0.6 / 256)
    assert np.count_nonzero(found) == len(points)
    assert np.count_nonzero((found > 0) & (sparse_depth(2) > 0)) < len(points) / 2  # most moved


def test_rectified_pictures_go_by_the_projection_matrix(tmp_path):
    truth = sparse_depth(3)
    projection = [[FOCAL, 0, CENTRE[0], 0], [0, FOCAL, CENTRE[1], 0], [0, 0, 1, 0]]
    info = calibration(START_NS, focal=61.0, distortion=(-0.3, 0.1, 0, 0, 0), projection=projection)
    messages = [
        ("/front/camera_info", START_NS, info),
        ("/front/image_rect", START_NS, picture(START_NS)),
        ("/points", START_NS, cloud(START_NS, points_on_pixels(truth), frame=CAMERA_FRAME)),
        static_transforms(),
    ]
    index = prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set")
    assert index["intrinsics_distorted"] is False
    assert index["samples"][0]["fx"] == FOCAL
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 256), truth, atol=0.6 / 256)


def test_what_the_camera_cannot_see_is_dropped(tmp_path):
    """A sparse board at 3 m before a wall at 9 m, both in the scan."""
    truth = np.zeros((HEIGHT, WIDTH))
    truth[1::3, ::3] = 9.0
    board = np.zeros_like(truth)
    board[12:36:3, 20:44:3] = 3.0
    points = np.concatenate([points_on_pixels(truth), points_on_pixels(board)])
    messages = [
        ("/front/camera_info", START_NS, calibration(START_NS)),
        ("/front/image", START_NS, picture(START_NS)),
        ("/points", START_NS, cloud(START_NS, points, frame=CAMERA_FRAME)),
        static_transforms(),
    ]
    bag = write_bag(tmp_path / "bag", messages)
    prepare(bag, tmp_path / "set")
    found = stored(tmp_path / "set", 0, 256)
    assert (found[12:34, 20:42] == 9).sum() == 0
    assert (found == 3).sum() == 64
    assert (found[:8] == 9).sum() == (truth[:8] == 9).sum()
    prepare(bag, tmp_path / "all", "--occlusion", "0")
    assert (stored(tmp_path / "all", 0, 256)[12:34, 20:42] == 9).sum() == 49


def _depth_camera(
    depth: np.ndarray, frame: str, info: Any | None, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> list[Message]:
    messages = [
        ("/rgb/camera_info", START_NS, calibration(START_NS, size=size)),
        ("/rgb/image", START_NS, picture(START_NS, width=size[0], height=size[1])),
        ("/depth/image", START_NS, image(START_NS, depth.astype(np.float32), "32FC1", frame)),
    ]
    return messages + ([("/depth/camera_info", START_NS, info)] if info is not None else [])


def test_depth_of_another_camera_is_projected(tmp_path):
    """The depth camera sits where the LiDAR is on the robot but looks as the camera does, 6 cm to its left."""
    depth = sparse_depth(4)
    info = calibration(START_NS, "depth_optical", (WIDTH, HEIGHT), 40.0, (30.0, 25.0))
    messages = _depth_camera(depth, "depth_optical", info)
    (tmp_path / "extrinsics.yaml").write_text("translation: [-0.06, 0, 0.01]\nrotation: [0, 0, 0, 1]\n")
    options = ("--extrinsics", str(tmp_path / "extrinsics.yaml"), "--depth-range", "0.1", "50")
    prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set", *options)
    expected = np.zeros((HEIGHT, WIDTH))
    for row, column in np.argwhere(depth):
        z = depth[row, column]
        x, y, forward = (column - 30.0) / 40 * z - 0.06, (row - 25.0) / 40 * z, z + 0.01
        u, v = round(x / forward * FOCAL + CENTRE[0]), round(y / forward * FOCAL + CENTRE[1])
        if 0 <= u < WIDTH and 0 <= v < HEIGHT:
            expected[v, u] = forward
    assert np.count_nonzero(expected) > 20
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 1000), expected, atol=0.6 / 1000)


def test_depth_of_one_frame_but_other_intrinsics_is_projected(tmp_path):
    depth = sparse_depth(5)
    info = calibration(START_NS, CAMERA_FRAME, (WIDTH, HEIGHT), FOCAL / 2, (30.25, 24.25))
    bag = write_bag(tmp_path / "bag", _depth_camera(depth, CAMERA_FRAME, info))
    prepare(bag, tmp_path / "set", "--depth-range", "0.1", "50")
    # Row (26 - 24.25) * 2 + 23.5 = 27, column (35 - 30.25) * 2 + 31.5 = 41.
    assert stored(tmp_path / "set", 0, 1000)[27, 41] == pytest.approx(depth[26, 35], abs=0.6 / 1000)
    prepare(bag, tmp_path / "as_it_is", "--registered")
    np.testing.assert_allclose(stored(tmp_path / "as_it_is", 0, 1000), depth, atol=0.6 / 1000)


def test_registered_depth_of_half_the_size_is_enlarged(tmp_path):
    depth = sparse_depth(6)
    messages = _depth_camera(depth, CAMERA_FRAME, None, (2 * WIDTH, 2 * HEIGHT))
    prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set")
    expected = np.kron(depth, np.ones((2, 2)))
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 1000), expected, atol=0.6 / 1000)


def test_depth_that_cannot_be_registered_is_refused(tmp_path, capsys):
    depth = sparse_depth(7)
    shaped = write_bag(tmp_path / "shaped", _depth_camera(depth, CAMERA_FRAME, None, (WIDTH, WIDTH)))
    assert "64x48 and the pictures are 64x64, another shape" in refusal(shaped, tmp_path / "set", capsys)
    framed = write_bag(tmp_path / "framed", _depth_camera(depth, "ir", None))
    assert "no camera_info of the depth camera" in refusal(framed, tmp_path / "set", capsys)
    info = calibration(START_NS, "ir")
    untied = write_bag(tmp_path / "untied", _depth_camera(depth, "ir", info))
    error = refusal(untied, tmp_path / "set", capsys)
    assert "frame 'ir', not of the pictures' 'camera_optical'" in error
    assert "no transforms at all" in error


def test_depth_beside_the_pictures_shares_their_calibration(tmp_path):
    """One camera_info for both in a namespace is the pictures': it says nothing about depth of another size."""
    depth = sparse_depth(8)
    size = (2 * WIDTH, 2 * HEIGHT)
    messages = [
        ("/rgb/camera_info", START_NS, calibration(START_NS, size=size)),
        ("/rgb/image", START_NS, picture(START_NS, width=size[0], height=size[1])),
        ("/rgb/depth", START_NS, image(START_NS, depth.astype(np.float32), "32FC1")),
    ]
    prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set")
    expected = np.kron(depth, np.ones((2, 2)))
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 1000), expected, atol=0.6 / 1000)


def test_an_uncalibrated_camera_leaves_the_focal_length_unknown(tmp_path):
    messages = _depth_camera(sparse_depth(9), CAMERA_FRAME, None)
    messages[0][2].k[:] = 0
    index = prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set")
    assert index["samples"][0]["fx"] is None
    assert any("/rgb/image has no camera_info of a calibrated camera" in note for note in index["notes"])


def test_compressed_topics_of_a_ros_1_bag(tmp_path):
    """JPEG pictures, compressedDepth, and transforms that ROS 1 writes with a slash; found without being named."""
    depth = np.random.default_rng(0).integers(500, 9000, (HEIGHT, WIDTH), dtype=np.uint16)
    smooth = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], (HEIGHT, 1, 3))
    data = struct.pack("<iff", 0, 0, 0) + cv2.imencode(".png", depth)[1].tobytes()
    types = get_typestore(Stores.ROS1_NOETIC).types
    with Ros1Writer(tmp_path / "old.bag") as writer:
        for topic, form, payload, name in (
            ("/rgb/image/compressed", "rgb8; jpeg compressed bgr8", cv2.imencode(".jpg", smooth)[1].tobytes(), "/eye"),
            ("/depth/image/compressedDepth", "16UC1; compressedDepth", data, "eye"),
        ):
            time = types["builtin_interfaces/msg/Time"](*divmod(START_NS, 10**9))
            header = types["std_msgs/msg/Header"](7, time, name)
            kind = "sensor_msgs/msg/CompressedImage"
            message = types[kind](header, form, np.frombuffer(payload, np.uint8))
            store = get_typestore(Stores.ROS1_NOETIC)
            connection = writer.add_connection(topic, kind, typestore=store)
            writer.write(connection, START_NS, store.serialize_ros1(message, kind))
    prepare(tmp_path / "old.bag", tmp_path / "set")
    np.testing.assert_array_equal(stored(tmp_path / "set", 0, 1), depth)
    shown = cv2.imread(str(tmp_path / "set" / "rgb" / "000000.png"))
    assert np.abs(shown.astype(int) - smooth).max() < 8


def test_no_ros_is_needed(tmp_path):
    """ROS's own message packages are neither imported nor asked for."""
    code = f"""
import sys
from clip_depth_training.cli import main
assert main(["prepare", "bag", {str(ROOMS)!r}, "-o", {str(tmp_path / "set")!r}, "--limit", "2"]) == 0
print(sorted({{"rclpy", "sensor_msgs", "std_msgs"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_pictures_without_a_partner_are_counted(tmp_path):
    messages, _ = lidar_drive(1.0)
    extra = [START_NS + 50 * MS + 100 * MS * number + 45 * MS for number in (2, 5)]
    messages = [one for one in messages if one[:2] != ("/points", START_NS + 350 * MS + LATE)]
    messages += [("/front/image", time, picture(time)) for time in extra]
    index = prepare(
        write_bag(tmp_path / "bag", sorted(messages, key=lambda one: one[1])),
        tmp_path / "set",
        *("--fixed-frame", "odom", "--every", "0", "--tolerance", "0.04"),
    )
    assert len(index["samples"]) == 9
    notes = " ".join(index["notes"])
    assert "Of 12 pictures and 9 scans, 9 pairs lie within 0.04 s." in notes
    assert "1 pictures have no scan in time." in notes
    assert "2 pictures have none of their own" in notes


def test_times_that_tf_does_not_cover_are_counted(tmp_path):
    messages, _ = lidar_drive(1.0)
    late = START_NS + 500 * MS
    messages = [one for one in messages if not (one[0] == "/tf" and one[1] > late)]
    options = ("--fixed-frame", "odom", "--every", "0")
    index = prepare(write_bag(tmp_path / "bag", messages), tmp_path / "set", *options)
    # The last transform is at 490 ms: the scan of the picture at 450 ms is at 480 ms.
    assert len(index["samples"]) == 5
    assert any("5 samples were left out: the time" in note for note in index["notes"])


def test_the_end_is_held_out_as_a_set_of_its_own(tmp_path):
    messages = []
    for number in range(41):  # 20 s
        time = START_NS + number * 500 * MS
        messages += [
            ("/camera/image", time, picture(time, seed=number)),
            ("/camera/depth", time, image(time, np.full((HEIGHT, WIDTH), 1000 + number, np.uint16), "16UC1")),
        ]
    bag = write_bag(tmp_path / "bag", messages)
    index = prepare(bag, tmp_path / "set", "--hold-out", "0.2")
    held = json.loads((tmp_path / "set_validation" / "index.json").read_text(encoding="utf-8"))
    assert (index["split"], held["split"]) == ("train", "validation")
    assert (len(index["samples"]), len(held["samples"])) == (29, 9)  # 0 to 14 s, 16 to 20 s
    assert stored(tmp_path / "set", 28, 1)[0, 0] == 1028
    assert stored(tmp_path / "set_validation", 0, 1)[0, 0] == 1032
    assert index["samples"][0]["fx"] is None
    assert any("focal length is unknown" in note for note in index["notes"])
    assert any("3 samples just before" in note for note in index["notes"])
    limited = prepare(bag, tmp_path / "few", "--limit", "4", "--jpeg")
    assert (len(limited["samples"]), limited["limited_from"]) == (4, 41)
    assert [path.suffix for path in (tmp_path / "few" / "rgb").iterdir()] == [".jpg"] * 4
    assert len(open_data_set(tmp_path / "few")) == 4


def test_a_failure_leaves_neither_of_the_two_sets(tmp_path, capsys):
    messages = []
    for number in range(21):  # 10 s
        time = START_NS + number * 500 * MS
        depth = image(time, np.full((HEIGHT, WIDTH), 1000, np.uint16), "16UC1")
        messages += [("/camera/image", time, picture(time)), ("/camera/depth", time, depth)]
    messages[-2][2].data = messages[-2][2].data[:50]
    bag = write_bag(tmp_path / "bag", messages)
    assert "at 1700000010.000 s" in refusal(bag, tmp_path / "set", capsys, "--hold-out", "0.2")
    assert not (tmp_path / "set_validation").exists()


def test_a_calibration_from_a_file(tmp_path, capsys):
    messages, truths = lidar_drive(0.3)
    bag = write_bag(tmp_path / "bag", [one for one in messages if one[0] != "/front/camera_info"])
    options = ("--fixed-frame", "odom")
    assert "no camera_info of a calibrated camera beside it" in refusal(bag, tmp_path / "set", capsys, *options)
    error = refusal(bag, tmp_path / "set", capsys, *options, "--camera-info", "/nowhere")
    assert "/nowhere is neither a file nor a topic" in error
    k, p = ([float(one) for one in values] for values in (calibration(0).k, calibration(0).p))
    text = f"""image_width: {WIDTH}
image_height: {HEIGHT}
camera_name: front
camera_matrix: {{rows: 3, cols: 3, data: {k}}}
distortion_model: plumb_bob
distortion_coefficients: {{rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}}
rectification_matrix: {{rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}
projection_matrix: {{rows: 3, cols: 4, data: {p}}}
"""
    (tmp_path / "front.yaml").write_text(text)
    prepare(bag, tmp_path / "set", *options, "--camera-info", str(tmp_path / "front.yaml"))
    np.testing.assert_allclose(stored(tmp_path / "set", 0, 256), truths[0], atol=0.6 / 256)


def test_refusals_say_what_there_is(tmp_path, capsys):
    messages, _ = lidar_drive(0.3)
    bag = write_bag(tmp_path / "bag", messages)
    assert "/front/image (sensor_msgs/msg/Image, 3)" in refusal(bag, tmp_path / "a", capsys, "--image", "/rear")
    assert "no topic /depth" in refusal(bag, tmp_path / "a", capsys, "--depth", "/depth")
    assert "exclude each other" in refusal(bag, tmp_path / "a", capsys, "--depth", "/a", "--lidar", "/b")
    assert "needs --fixed-frame" in refusal(bag, tmp_path / "a", capsys, "--accumulate", "2")
    error = refusal(bag, tmp_path / "a", capsys, "--fixed-frame", "map")
    assert "The frame 'map' is not in the recording's tf: it has base, camera_optical, lidar, odom" in error
    assert "too short for --hold-out" in refusal(bag, tmp_path / "a", capsys, "--hold-out", "0.5")
    second = write_bag(tmp_path / "two", [*messages, ("/rear/points", START_NS, cloud(START_NS, np.ones((1, 3))))])
    error = refusal(second, tmp_path / "a", capsys)
    assert "name one with --depth or --lidar: /points (sensor_msgs/msg/PointCloud2, 3), /rear/points" in error
    error = refusal(second, tmp_path / "a", capsys, "--lidar", "/rear/points", "--tolerance", "0.001")
    assert "the nearest two header stamps are 0.050 s apart" in error


def test_a_scan_that_never_meets_the_picture_gives_no_set(tmp_path, capsys):
    behind = np.array([[0.0, 0.0, -5.0]])
    messages = [
        ("/front/camera_info", START_NS, calibration(START_NS)),
        ("/front/image", START_NS, picture(START_NS)),
        ("/points", START_NS, cloud(START_NS, behind, frame=CAMERA_FRAME)),
        static_transforms(),
    ]
    error = refusal(write_bag(tmp_path / "bag", messages), tmp_path / "set", capsys)
    assert "gives no sample. 1 samples were left out: no point fell into the picture." in error


def test_a_damaged_picture_is_an_error_or_on_record(tmp_path, capsys):
    messages, _ = lidar_drive(0.3)
    bad = next(one for topic, time, one in messages if topic == "/front/image" and time > START_NS + 100 * MS)
    bad.data = bad.data[:100]
    bag = write_bag(tmp_path / "bag", messages)
    options = ("--fixed-frame", "odom", "--every", "0")
    error = refusal(bag, tmp_path / "set", capsys, *options)
    assert "/front/image at 1700000000.150 s: The rgb8 image of 64x48" in error
    index = prepare(bag, tmp_path / "set", *options, "--skip-bad")
    assert len(index["samples"]) == 2
    assert len(index["skipped"]) == 1


@pytest.mark.parametrize("name", ["bag_soccer_rgb8_mislabelled", "bag_svo_mono_camerainfo"])
def test_real_recordings_without_depth_say_what_they_have(shared_real, tmp_path, capsys, name):
    error = refusal(shared_real / name, tmp_path / "set", capsys)
    assert "no depth image and no point cloud" in error
    assert "/camera/image_raw (sensor_msgs/msg/Image" in error
