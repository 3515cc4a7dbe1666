"""The layouts RGB-D data sets come in, each made small here, and the real folders where they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rgbd_data import (
    DEPTH_STAMPS,
    HEIGHT,
    STAMPS,
    WIDTH,
    write_depth,
    write_picture,
    write_scannet,
    write_trajectory,
    write_tum,
)

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.rgbd_folder import RgbdFolder, read_picture


def test_tum_pictures_get_the_nearest_depth_within_20_ms(tmp_path):
    found = RgbdFolder.find(write_tum(tmp_path))
    assert [path.stem for path in found.pictures] == list(STAMPS)
    assert [path.stem if path else None for path in found.depths] == [*DEPTH_STAMPS[:2], None]
    assert found.stamps_ns == tuple(int(stamp.replace(".", "")) * 1000 for stamp in STAMPS)
    assert found.depth_stamps_ns == (1305031102160407000, 1305031102226738000, None)
    assert (found.camera, found.depth_scale, found.poses) == (None, 5000.0, ())
    np.testing.assert_array_equal(found.load(1)[1], np.full((HEIGHT, WIDTH), 2.0, np.float32))
    assert found.load(2)[1] is None
    calibration, unpaired = sorted(found.notes, reverse=True)
    assert "none is assumed" in calibration
    assert unpaired.startswith("1 of 3 pictures have no depth")


def test_tum_trajectory_is_interpolated_at_the_pictures(tmp_path):
    write_trajectory(write_tum(tmp_path) / "groundtruth.txt")
    (tmp_path / "k.txt").write_text("30 0 16\n0 30 12\n0 0 1\n")
    found = RgbdFolder.find(tmp_path, intrinsics=tmp_path / "k.txt")
    assert found.camera is not None
    assert found.camera.intrinsics[0, 0] == 30
    for pose, stamp in zip(found.poses[:2], STAMPS):
        elapsed = float(stamp) - float(STAMPS[0])
        angle = elapsed * np.pi / 4
        assert pose is not None
        np.testing.assert_allclose(pose[:3, 3], [elapsed, 0, 1.5], atol=1e-6)
        np.testing.assert_allclose(pose[:2, 0], [np.cos(angle), np.sin(angle)], atol=1e-5)
    assert found.notes == (found.notes[0],)
    assert "1 of 3 pictures have no depth" in found.notes[0]


def test_tum_picture_outside_the_trajectory_and_poses_of_nothing_are_counted(tmp_path):
    write_trajectory(write_tum(tmp_path) / "groundtruth.txt")
    path = tmp_path / "groundtruth.txt"
    lines = path.read_text().splitlines()
    del lines[-2:]
    lines.append("1305031102.275000 nan 0 0 0 0 0 1")
    lines.append("1305031102.276000 0 0 0 0 0 0 0")
    path.write_text("\n".join(lines))
    found = RgbdFolder.find(tmp_path)
    assert [pose is None for pose in found.poses] == [False, False, True]
    assert any("2 poses are none" in note and "1 of 3 pictures have none" in note for note in found.notes)


def test_named_folders_with_stamps_for_names_are_paired_as_tum_s_are(tmp_path):
    write_trajectory(write_tum(tmp_path) / "groundtruth.txt")
    found = RgbdFolder.find(
        None, rgb=tmp_path / "rgb", depth=tmp_path / "depth", poses=tmp_path / "groundtruth.txt", depth_scale=5000
    )
    by_list = RgbdFolder.find(tmp_path)
    assert (found.pictures, found.depths, found.stamps_ns) == (by_list.pictures, by_list.depths, by_list.stamps_ns)
    np.testing.assert_array_equal(found.poses[0], by_list.poses[0])


def test_scannet_depth_lands_on_the_pixels_that_see_it(tmp_path):
    found = RgbdFolder.find(write_scannet(tmp_path))
    assert (found.depth_scale, [path.name for path in found.pictures]) == (1000.0, ["0.jpg", "1.jpg", "2.jpg"])
    depth = found.load(2)[1]
    assert depth is not None
    assert depth.shape == (HEIGHT, WIDTH)
    for row, column in ((0, 0), (7, 12), (23, 31), (10, 3)):
        # The pixel's ray through both pinholes, by hand.
        seen = round((column - 15.5) / 30 * 15 + 7.5), round((row - 11.5) / 30 * 15 + 5.5)
        assert depth[row, column] == pytest.approx((21000 + 100 * seen[1] + seen[0]) / 1000)
    assert [pose is None for pose in found.poses] == [False, True, False]
    assert found.poses[2] is not None
    assert found.poses[2][0, 3] == 2.0
    assert any("16x12 was put on the pictures' 32x24" in note for note in found.notes)
    assert any("1 poses are none" in note for note in found.notes)


def test_depth_that_sees_less_leaves_the_rest_without_reading(tmp_path):
    write_scannet(tmp_path)
    matrix = np.diag([30.0, 30.0, 1.0, 1.0])
    matrix[0, 2], matrix[1, 2] = 7.5, 5.5
    np.savetxt(tmp_path / "intrinsic" / "intrinsic_depth.txt", matrix)  # twice the focal length: half the view
    depth = RgbdFolder.find(tmp_path).load(0)[1]
    assert depth is not None
    np.testing.assert_array_equal(np.isfinite(depth).any(axis=0).nonzero()[0], np.arange(8, 24))
    np.testing.assert_array_equal(np.isfinite(depth).any(axis=1).nonzero()[0], np.arange(6, 18))
    assert depth[6, 8] == 1.0


def test_depth_of_the_pictures_size_and_intrinsics_stays_as_it_is(tmp_path):
    write_scannet(tmp_path, (WIDTH, HEIGHT))
    (tmp_path / "intrinsic" / "intrinsic_depth.txt").write_text("30.01 30 15.4 11.6")
    found = RgbdFolder.find(tmp_path)
    assert found.depth_intrinsics is None
    depth = found.load(0)[1]
    assert depth is not None
    assert depth[3, 5] == pytest.approx(1.305)


def test_poses_of_every_format_are_the_same(tmp_path):
    root = tmp_path / "scene"
    angles = (0.1, 0.2, 0.3)
    poses = []
    for index, angle in enumerate(angles):
        write_picture(root / "rgb" / f"frame-{index:06d}.color.png", index)
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        pose[:3, 3] = index, 2, 3
        poses.append(pose)
    formats = {}
    formats["lines.txt"] = "".join(" ".join(map(str, pose.ravel())) + "\n" for pose in poses)
    formats["kitti.txt"] = "".join(" ".join(map(str, pose[:3].ravel())) + "\n" for pose in poses)
    formats["commas.txt"] = formats["lines.txt"].replace(" ", ", ")
    formats["blocks.txt"] = "\n".join("\n".join(" ".join(map(str, row)) for row in pose) + "\n" for pose in poses)
    formats["named.txt"] = "# name, then the matrix\n" + "".join(
        f"frame-{index:06d}.color.png {' '.join(map(str, poses[index].ravel()))}\n" for index in (2, 0, 1)
    )
    for name, text in formats.items():
        (tmp_path / name).write_text(text)
    for kind, names in (("by name", "frame-{:06d}.pose.txt"), ("by order", "{}.txt")):
        (tmp_path / kind).mkdir()
        for index, pose in enumerate(poses):
            np.savetxt(tmp_path / kind / names.format(index), pose)
    for name in (*formats, "by name", "by order"):
        found = RgbdFolder.find(root, poses=tmp_path / name)
        np.testing.assert_allclose(np.stack([pose for pose in found.poses if pose is not None]), poses, err_msg=name)
        assert found.notes == ()


def test_sixteen_bit_depth_of_unknown_scale_is_said_to_be_taken_as_millimetres(tmp_path):
    write_picture(tmp_path / "rgb" / "1.png", 1)
    write_depth(tmp_path / "depth" / "1.png", 1500)
    found = RgbdFolder.find(tmp_path)
    assert found.notes == (
        "Nothing says what 16-bit depth is in: millimetres are assumed (TUM's is 5000 units a metre).",
    )
    assert RgbdFolder.find(tmp_path, depth_scale=1000.0).notes == ()


def _break(root: Path, how: str) -> dict:
    """Breaks a TUM (``t``) or ScanNet (``s``) folder; returns what the user names."""
    if how == "absent file":
        (root / "rgb" / f"{STAMPS[1]}.png").unlink()
    elif how == "no stamp":
        (root / "rgb.txt").write_text(f"first rgb/{STAMPS[0]}.png\n")
    elif how == "no file":
        (root / "depth.txt").write_text("12.5\n")
    elif how == "empty list":
        (root / "rgb.txt").write_text("# nothing\n")
    elif how == "other day":
        (root / "depth.txt").write_text(f"1405031102.0 depth/{DEPTH_STAMPS[0]}.png\n")
    elif how == "bytes for a list":
        (root / "rgb.txt").write_bytes(b"\xff\xfe\x00")
    elif how == "no trajectory":
        (root / "groundtruth.txt").write_text("1 2 3\n")
    elif how == "words in the trajectory":
        (root / "groundtruth.txt").write_text("1305031102.1 a b c 0 0 0 1\n")
    elif how == "no pose in time":
        (root / "groundtruth.txt").write_text("5.0 0 0 0 0 0 0 1\n6.0 0 0 0 0 0 0 1\n")
    elif how == "K of bigger pictures":
        (root / "intrinsic" / "intrinsic_color.txt").write_text("1169 0 647 0 1169 483 0 0 1")
    elif how == "K of nothing":
        (root / "intrinsic" / "intrinsic_color.txt").write_text("1 2 3 4 5")
    elif how == "K with words":
        (root / "intrinsic" / "intrinsic_color.txt").write_text("fx 30")
    elif how == "K that is no pinhole":
        (root / "intrinsic" / "intrinsic_color.txt").write_text("30 1 16 0 30 12 0 0 1")
    elif how == "negative focal length":
        (root / "intrinsic" / "intrinsic_color.txt").write_text("-30 30 16 12")
    elif how == "K of depth alone":
        (root / "intrinsic" / "intrinsic_color.txt").unlink()
    elif how == "depth camera elsewhere":
        matrix = np.eye(4)
        matrix[0, 3] = 0.025
        np.savetxt(root / "intrinsic" / "extrinsic_depth.txt", matrix)
    elif how == "poses for some":
        for index, name in enumerate(("a", "b")):
            (root / "pose" / f"{index}.txt").rename(root / "pose" / f"{name}.txt")
        (root / "pose" / "2.txt").unlink()
    elif how == "all poses infinite":
        for index in range(3):
            np.savetxt(root / "pose" / f"{index}.txt", np.full((4, 4), np.inf))
    elif how == "half a pose":
        (root / "pose" / "1.txt").write_text("1 0 0 0")
    elif how == "no poses":
        return {"poses": root / "absent"}
    elif how == "trajectory without stamps":
        (root / "t.txt").write_text("1 0 0 0 0 0 0 1\n")
        return {"poses": root / "t.txt"}
    elif how == "names of other pictures":
        (root / "t.txt").write_text("x.png " + " ".join(map(str, np.eye(4).ravel())))
        return {"poses": root / "t.txt"}
    elif how == "depth K of another size":
        text = json.dumps({"fx": 15, "fy": 15, "cx": 7.5, "cy": 5.5, "width": 99, "height": 50})
        (root / "d.json").write_text(text)
        return {"depth_intrinsics": root / "d.json"}
    elif how == "infinite scale":
        return {"depth_scale": float("inf")}
    return {}


@pytest.mark.parametrize(
    ("layout", "how", "sentence"),
    [
        ("t", "absent file", r"rgb\.txt lists 3 files, of which 1 do not exist: .*211214\.png is the first"),
        ("t", "no stamp", r"rgb\.txt, line 1, is not a time stamp"),
        ("t", "no file", r"depth\.txt, line 1, is not a time stamp \(seconds\) and a file: '12\.5'"),
        ("t", "empty list", r"rgb\.txt lists no files"),
        ("t", "other day", r"No picture in .*rgb has a depth in .*depth within 0\.02 s"),
        ("t", "bytes for a list", r"rgb\.txt cannot be read as text"),
        ("t", "no trajectory", r"groundtruth\.txt has lines of 3 words"),
        ("t", "words in the trajectory", r"groundtruth\.txt is not a file of poses"),
        ("t", "no pose in time", r"groundtruth\.txt has no valid pose of any of the 3 pictures"),
        ("s", "K of bigger pictures", r"principal point \(647, 483\), outside of pictures of 32x24"),
        ("s", "K of nothing", r"intrinsic_color\.txt holds 5 numbers"),
        ("s", "K with words", r"intrinsic_color\.txt cannot be read as a matrix"),
        ("s", "K that is no pinhole", r"intrinsic_color\.txt is not of the form"),
        ("s", "negative focal length", r"focal lengths -30 and 30"),
        ("s", "K of depth alone", r"intrinsic_depth\.txt is the calibration of the depth pictures, but the pictures"),
        ("s", "depth camera elsewhere", r"extrinsic_depth\.txt says that the depth camera is in another place"),
        ("s", "poses for some", r"pose has 2 poses for 3 pictures, and no names that agree"),
        ("s", "all poses infinite", r"no valid pose of any of the 3 pictures \(3 of its poses are none\)"),
        ("s", "half a pose", r"1\.txt holds 4 numbers: it should be a 4x4 matrix"),
        ("s", "no poses", r"absent does not exist"),
        ("s", "trajectory without stamps", r"is a trajectory over time, but the pictures have no time stamps"),
        ("s", "names of other pictures", r"t\.txt names none of the pictures"),
        ("s", "depth K of another size", r"0\.png is 16x12, but its intrinsics are for 99x50"),
        ("s", "infinite scale", r"depth scale is inf units"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path, layout, how, sentence):
    root = write_tum(tmp_path) if layout == "t" else write_scannet(tmp_path)
    with pytest.raises(BadInput, match=sentence) as caught:
        RgbdFolder.find(root, **_break(root, how))
    assert "\n" not in str(caught.value)


def test_without_a_folder_the_pictures_must_be_named(tmp_path):
    with pytest.raises(BadInput, match="name them with --rgb"):
        RgbdFolder.find(None, depth=tmp_path)


@pytest.mark.parametrize(("name", "poses"), [("rgbd_hololens_rooms", 32), ("rgbd_sun3d_cubicles_1", 13)])
def test_real_poses_move_a_real_scene_onto_itself(shared_real, name, poses):
    """What one picture measured, seen from the next by the poses, is what that one measured."""
    found = RgbdFolder.find(shared_real / name)
    assert [pose is None for pose in found.poses] == [False] * poses
    assert found.camera is not None
    worst = []
    for index in (0, 4, 8):
        first, second = found.load(index)[1], found.load(index + 1)[1]
        pose, other = found.poses[index], found.poses[index + 1]
        assert first is not None
        assert second is not None
        assert pose is not None
        assert other is not None
        points = (found.camera.rays() * first[..., None]).reshape(-1, 3)
        points = points[np.isfinite(points).all(axis=1)][::7]
        moved = np.linalg.inv(other) @ pose @ np.column_stack([points, np.ones(len(points))]).T
        pixels = np.rint(np.nan_to_num(found.camera.project(moved[:3].T), nan=-1)).astype(int)
        height, width = second.shape
        inside = (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
        measured = second[pixels[inside, 1], pixels[inside, 0]]
        error = np.abs(measured - moved[2, inside]) / measured
        worst.append(float(np.nanmedian(error)))
    # The other way round (world-to-camera) it is 0.1 and more.
    assert max(worst) < 0.03


def test_real_matrix_file_is_the_json_s_camera(shared_real):
    folder = shared_real / "rgbd_hololens_rooms"
    text, written = (RgbdFolder.find(folder, intrinsics=folder / name) for name in ("K.txt", "intrinsics.json"))
    assert text.camera == written.camera
    assert read_picture(text.pictures[0]).shape == (360, 540, 3)
