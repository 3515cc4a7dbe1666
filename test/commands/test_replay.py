"""``clip-depth replay`` offline: what the report says, stopping and going on, and what is refused."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bag_scenes import lidar_drive
from networks import TINY, tiny_encoder, tiny_head
from recordings import camera_messages, image, write_bag

from clip_depth_ros import DepthEstimator
from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.replay.conditions import AS_RECORDED
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.frames import FrameSource
from clip_depth_ros.replay.ground_truth.options import TruthOptions
from clip_depth_ros.replay.ground_truth.plan import make_plan
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.offline.run import OfflineRun
from clip_depth_ros.replay.offline.saving import FOLDER, SavedRun
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.resources import resolve

ROOMS = resolve("package://clip_depth_ros/models/demo/rooms_bag")


@pytest.fixture(scope="module", autouse=True)
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's in fp32, so that no timing decides on the types."""
    path = tmp_path_factory.mktemp("config") / "fp32.yaml"
    parameters = {"heads": ["space_clip"], "device": "cpu", "precision": "fp32"}
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
    return path


def replay(bag: Path, output: Path, config: Path, *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["replay", str(bag), "-o", str(output), "--config", str(config), *options])
    return code, json.loads((output / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two seconds of the demo's recording, as a bag of its own."""
    folder = tmp_path_factory.mktemp("rooms")
    with BagReader(ROOMS) as reader:
        end = reader.start_ns + 2_000_000_000
        messages = [(one.topic, one.time_ns, reader.decode(one)) for one in reader.messages() if one.time_ns < end]
    return write_bag(folder / "rooms", messages)


@pytest.fixture(scope="module")
def whole(rooms: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay of all of it, with everything that can be written."""
    output = tmp_path_factory.mktemp("whole")
    code, _ = replay(
        rooms, output, config, "--head", "space_clip", "--head", "moa_depth_clip", "--degrade", "dark", "--result-bag"
    )
    assert code == 0
    return output


def told(output: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output / "report.json").read_text(encoding="utf-8"))
    return report


def test_the_figures_are_those_of_depth_worked_out_by_hand(whole: Path, rooms: Path, config: Path) -> None:
    report = told(whole)
    estimator = DepthEstimator.from_config(str(config))
    errors = []
    with BagReader(rooms) as reader:
        topic = reader.require_topic("image").name
        truth = reader.require_topic("depth").name
        k = reader.decode(next(reader.messages([reader.require_topic("camera_info").name]))).k.reshape(3, 3)
        truths = {header_stamp_ns(one.data): depth_metres(reader.decode(one)) for one in reader.messages([truth])}
        for message in reader.messages([topic]):
            content = reader.decode(message)
            rgb = content.data.reshape(content.height, content.width, 3)
            depth = estimator(rgb, k)["space_clip"].depth[0].numpy()
            target = truths[header_stamp_ns(message.data)]
            counts = (target > 0.1) & (target < 10)
            errors.append(np.abs(depth.clip(0.1, 10) - target)[counts] / target[counts])
    expected = float(np.mean([one.mean(dtype=np.float64) for one in errors]))
    first = report["runs"][0]
    assert (first["head"], first["condition"]) == ("space_clip", AS_RECORDED)
    assert first["accuracy"]["metric"]["abs_rel"] == pytest.approx(expected, rel=1e-4)
    assert np.allclose(first["frames"]["abs_rel"], [one.mean() for one in errors], rtol=1e-4)
    assert report["matching"]["matched"] == report["matching"]["images"] == len(errors) == report["bag"]["images"]


def test_every_head_under_every_condition_has_its_row(whole: Path) -> None:
    runs = told(whole)["runs"]
    heads, conditions = ("space_clip", "moa_depth_clip"), (AS_RECORDED, "dark")
    assert [(run["head"], run["condition"]) for run in runs] == [(h, c) for h in heads for c in conditions]
    assert len({run["accuracy"]["metric"]["abs_rel"] for run in runs}) == 4
    assert all(run["speed"]["frames_per_s"] > 0 for run in runs)
    assert len({run["accuracy"]["constant"]["metric"]["abs_rel"] for run in runs}) == 1


def test_the_report_says_what_ran(whole: Path) -> None:
    report = told(whole)
    assert report["complete"]
    assert report["settings"]["heads"] == "space_clip, moa_depth_clip"
    assert set(report["provenance"]) == {"encoder", "space_clip", "moa_depth_clip"}
    assert "no real image" in report["provenance"]["space_clip"]
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert "moa_depth_clip" in page
    assert not (whole / FOLDER).exists()


def test_the_result_bag_holds_the_depth_that_was_scored(whole: Path, rooms: Path) -> None:
    with BagReader(whole / "result_bag") as results, BagReader(rooms) as recording:
        image_topic = recording.require_topic("image").name
        stamps = [header_stamp_ns(one.data) for one in recording.messages([image_topic])]
        for name in ("/camera/depth/image", "/camera/depth/points", "/camera/moa_depth_clip/depth/image"):
            assert [header_stamp_ns(one.data) for one in results.messages([name])] == stamps
        depths = [depth_metres(results.decode(one)) for one in results.messages(["/camera/depth/image"])]
        truths = {
            header_stamp_ns(one.data): depth_metres(recording.decode(one))
            for one in recording.messages([recording.require_topic("depth").name])
        }
    errors = []
    for stamp, depth in zip(stamps, depths):
        counts = (truths[stamp] > 0.1) & (truths[stamp] < 10) & np.isfinite(depth)
        errors.append(float((np.abs(depth - truths[stamp])[counts] / truths[stamp][counts]).mean()))
    assert told(whole)["runs"][0]["frames"]["abs_rel"] == pytest.approx(errors, rel=1e-4)


def test_the_shipped_heads_beat_a_constant(tmp_path: Path, config: Path) -> None:
    heads = ("moa_depth_clip", "depth_blip2", "depth_clip")
    options = [word for head in heads for word in ("--head", head)]
    _, report = replay(ROOMS, tmp_path, config, *options, "--every", "0.5")
    assert [run["head"] for run in report["runs"]] == list(heads)
    assert len(report["runs"][0]["frames"]["t_s"]) > 15
    for run in report["runs"][:2]:  # DepthCLIP never learnt depth
        metric, constant = run["accuracy"]["metric"], run["accuracy"]["constant"]["metric"]
        assert metric["abs_rel"] < constant["abs_rel"]
        assert metric["a1"] > constant["a1"]


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs from run to run."""
    report = json.loads(json.dumps(report))
    del report["created"], report["settings"]
    for run in report["runs"]:
        del run["speed"]
    return report


def offline(reader: BagReader, estimator: DepthEstimator) -> OfflineRun:
    source = FrameSource(reader, make_plan(reader, TruthOptions(), "wanted"))
    return OfflineRun(source, estimator, ["space_clip"], [AS_RECORDED, "noise"], (0.1, 10.0), batch=4)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(rooms: Path, config: Path, tmp_path: Path) -> None:
    estimator = DepthEstimator.from_config(str(config))
    with BagReader(rooms) as reader:
        straight = offline(reader, estimator)
        assert straight.go(lambda: True)
        parts = 0
        while True:
            # Each part begins from the disk, as a new process does.
            part = offline(reader, estimator)
            saved = SavedRun(tmp_path, {"recording": "rooms"})
            if parts:
                saved.restore(part)
            before = part.scoring.pictures
            finished = part.go(lambda part=part, before=before: part.scoring.pictures < before + 8)
            saved.save(part)
            parts += 1
            if finished:
                break
        assert parts == 3
    assert part.scoring.stamps_ns == straight.scoring.stamps_ns
    for key, scores in straight.scoring.scores.items():
        assert part.scoring.scores[key].frames() == scores.frames()
        assert part.scoring.scores[key].accuracy() == scores.accuracy()
    kept, expected = part.scoring.strip.frames(), straight.scoring.strip.frames()
    assert [one.t_s for one in kept] == [one.t_s for one in expected]
    assert all(np.array_equal(one.rgb, other.rgb) for one, other in zip(kept, expected))
    assert len(list((tmp_path / FOLDER).glob("*.safetensors"))) == 1


def test_pictures_that_were_read_ahead_of_a_stop_are_not_counted_twice(config: Path, tmp_path: Path) -> None:
    messages = camera_messages(40, 96, 64)
    messages[3 * 10 + 1][2].encoding = "rgb17"
    bag = write_bag(tmp_path / "bag", messages)
    estimator = DepthEstimator.from_config(str(config))
    with BagReader(bag) as reader:
        source = FrameSource(reader, make_plan(reader, TruthOptions(), "wanted"))
        first = OfflineRun(source, estimator, ["space_clip"], [AS_RECORDED], (0.1, 10.0))
        first.go(lambda: first.scoring.pictures < 8)
        for _ in range(200):  # the thread that reads is ahead of the scores
            if source.skipped:
                break
            time.sleep(0.01)
        SavedRun(tmp_path, {}).save(first)
        source = FrameSource(reader, make_plan(reader, TruthOptions(), "wanted"))
        second = OfflineRun(source, estimator, ["space_clip"], [AS_RECORDED], (0.1, 10.0))
        SavedRun(tmp_path, {}).restore(second)
        assert second.go(lambda: True)
    assert list(source.skipped) == [10]
    assert second.scoring.pictures == 39


def restamped(content: Any, later_ns: int) -> Any:
    stamp = content.header.stamp
    moved = type(stamp)(*divmod(stamp.sec * 1_000_000_000 + stamp.nanosec + later_ns, 1_000_000_000))
    return replace(content, header=replace(content.header, stamp=moved))


def test_ctrl_c_leaves_a_report_of_what_was_done_and_resume_does_the_rest(
    rooms: Path, config: Path, tmp_path: Path
) -> None:
    with BagReader(rooms) as reader:
        once = [(one.topic, one.time_ns, reader.decode(one)) for one in reader.messages()]
        turn_ns = reader.end_ns - reader.start_ns + 100_000_000
    messages = [
        (topic, time_ns + turn * turn_ns, restamped(content, turn * turn_ns))
        for turn in range(6)
        for topic, time_ns, content in once
    ]
    bag = write_bag(tmp_path / "long", messages)
    output = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "clip_depth_ros.cli",
        "replay",
        str(bag),
        "-o",
        str(output),
        "--config",
        str(config),
    ]
    process = subprocess.Popen(
        [*command, "--result-bag", "--points-every", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not list(output.glob(".result_bag*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    report = told(output)
    images = report["bag"]["images"]
    done = len(report["runs"][0]["frames"]["t_s"])
    assert not report["complete"]
    assert "--resume" in report["stopped"]
    assert 0 < done < images == 6 * len([one for one in once if one[0].endswith("/image") and "depth" not in one[0]])
    with BagReader(output / "result_bag") as results:
        assert results.topics["/camera/depth/image"].count == done

    assert main([*command[3:], "--result-bag", "--points-every", "0", "--head", "moa_depth_clip", "--resume"]) == 2
    assert main([*command[3:], "--rerun", str(tmp_path / "x.rrd"), "--resume"]) == 2
    (output / "result_bag").rename(tmp_path / "aside")
    assert main([*command[3:], "--result-bag", "--resume"]) == 2
    (tmp_path / "aside").rename(output / "result_bag")
    code, finished = replay(bag, output, config, "--result-bag", "--points-every", "0", "--resume")
    assert code == 0
    assert finished["complete"]
    assert not (output / FOLDER).exists()
    with BagReader(output / "result_bag") as results:
        assert results.topics["/camera/depth/image"].count == images
        assert results.topics["/camera/camera_info"].count == images
    _, straight = replay(bag, tmp_path / "straight", config)
    assert without_times(finished) == without_times(straight)


def test_a_cut_off_recording_is_reported_as_far_as_it_goes(rooms: Path, config: Path, tmp_path: Path) -> None:
    data = next(rooms.glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) // 2])
    code, report = replay(cut, tmp_path / "out", config)
    assert code == 1
    assert not report["complete"]
    assert "cut off" in report["stopped"]
    assert 0 < len(report["runs"][0]["frames"]["t_s"]) < 20


def test_a_lidar_is_the_truth_where_the_robot_drove_on_between_picture_and_scan(config: Path, tmp_path: Path) -> None:
    messages, truths = lidar_drive()
    bag = write_bag(tmp_path / "bag", messages)
    code, report = replay(bag, tmp_path / "out", config, "--fixed-frame", "odom", "--result-bag")
    assert code == 0
    assert report["bag"]["truth_kind"] == "LiDAR"
    assert report["matching"]["matched"] == len(truths) == 10
    accuracy = report["runs"][0]["accuracy"]
    assert accuracy["range_m"] == [0.5, 80.0]
    errors = []
    with BagReader(tmp_path / "out" / "result_bag") as results:
        for message, truth in zip(results.messages(["/camera/depth/image"]), truths):
            depth = depth_metres(results.decode(message))
            counts = (truth > 0) & np.isfinite(depth)
            errors.append(float((np.abs(depth - truth)[counts] / truth[counts]).mean()))
        assert results.topics["/tf_static"].count == 1
    assert report["runs"][0]["frames"]["abs_rel"] == pytest.approx(errors, rel=1e-3)
    measured = sum(int((truth > 0).sum()) for truth in truths)
    assert sum(band["pixels"] for band in accuracy["bands"]) == round(accuracy["coverage"] * measured)


def refusal(capsys: Any, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["replay", *arguments]) == 2
    error: str = capsys.readouterr().err.splitlines()[-1]
    assert "Traceback" not in error
    return error


def test_bad_input_is_one_sentence_and_leaves_no_report(rooms: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    there = ["-o", str(out), "--device", "cpu"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is not a bag" in refusal(capsys, str(text), *there)
    assert "does not exist" in refusal(capsys, str(tmp_path / "none"), *there)
    assert "holds no .mcap" in refusal(capsys, str(empty), *there)
    assert "blur, dark, noise, rain" in refusal(capsys, str(rooms), *there, "--degrade", "fog")
    assert "--batch" in refusal(capsys, str(rooms), *there, "--batch", "0")
    assert "--range" in refusal(capsys, str(rooms), *there, "--range", "3", "1")
    assert "no_such_head" in refusal(capsys, str(rooms), *there, "--head", "no_such_head")
    assert "unfinished replay" in refusal(capsys, str(rooms), *there, "--resume")
    assert "has no topic" in refusal(capsys, str(rooms), *there, "--image", "/nothing")
    info = str(next(topic for topic in BagReader(rooms).topics if topic.endswith("camera_info")))
    assert "expected to be" in refusal(capsys, str(rooms), *there, "--image", info)
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(capsys, str(rooms), "-o", str(tmp_path / "file" / "out"))
    assert not list(out.glob("report*"))


def test_a_recording_without_pictures_or_with_depth_of_another_shape_is_refused(
    config: Path, tmp_path: Path, capsys: Any
) -> None:
    there = ["-o", str(tmp_path / "out"), "--device", "cpu"]
    messages = camera_messages(40)
    only_info = write_bag(tmp_path / "info", [one for one in messages if one[0].endswith("camera_info")])
    assert "has no image topic" in refusal(capsys, str(only_info), *there)
    square = np.full((24, 24), 1000, np.uint16)
    other = [
        (topic, time_ns, image(time_ns - 2, square, "16UC1") if "depth" in topic else content)
        for topic, time_ns, content in messages
    ]
    bag = write_bag(tmp_path / "square", other)
    assert "The depth is 24x24 and the pictures are 32x24" in refusal(capsys, str(bag), *there)
    code, report = replay(bag, tmp_path / "out", config, "--no-truth")
    assert code == 0
    assert report["runs"][0]["accuracy"] is None
    assert report["bag"]["truth_topic"] == ""


def test_a_long_recording_takes_no_more_memory(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "long", camera_messages(2000, 96, 64))
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, CheckpointMetadata(method="space_clip", encoder=TINY), tiny_head(), tiny_encoder())
    config = tmp_path / "tiny.yaml"
    parameters = {"weights": [str(weights)], "device": "cpu", "precision": "fp32"}
    config.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
    # Its own peak: what wait4 says of a child begins with the memory of whoever started it.
    program = (
        "import sys; from clip_depth_ros.cli import main; from clip_depth_ros.memory import status_bytes; "
        "code = main(sys.argv[1:]); print(status_bytes('VmHWM')); sys.exit(code)"
    )
    command = ["replay", str(bag), "--config", str(config), "--batch", "16", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = told(tmp_path / "out")
    assert report["matching"]["matched"] == 2000
    assert int(done.stdout.splitlines()[-1]) < 1.5 * 2**30
    assert (tmp_path / "out" / "report.html").stat().st_size < 20 * 2**20


@pytest.mark.parametrize(
    ("recording", "images"),
    [
        ("bag_soccer_rgb8_mislabelled", 2),
        ("bag_svo_mono_camerainfo/tiny_svo.bag", 10),
        ("bag_svo_mono_camerainfo/ros2_mcap", 10),
    ],
)
def test_real_recordings_without_depth(
    recording: str, images: int, shared_real: Path, config: Path, tmp_path: Path
) -> None:
    code, report = replay(shared_real / recording, tmp_path, config, "--degrade", "rain")
    assert code == 0
    assert [len(run["frames"]["t_s"]) for run in report["runs"]] == [images, images]
    assert report["bag"]["truth_topic"] == ""
    assert all(run["accuracy"] is None for run in report["runs"])


@pytest.mark.parametrize(
    "folder",
    ["rgbd_hololens_rooms", "rgbd_open3d_tum_office", "rgbd_sun3d_cubicles_1", "rgbd_tum_fr2_desk_slambook"],
)
def test_a_real_rgb_d_folder_as_a_bag(folder: str, shared_real: Path, config: Path, tmp_path: Path) -> None:
    assert main(["make-bag", str(shared_real / folder), "-o", str(tmp_path / "bag")]) == 0
    code, report = replay(tmp_path / "bag", tmp_path / "out", config)
    assert code == 0
    images = len(list((shared_real / folder / "rgb").iterdir()))
    assert report["matching"]["matched"] == report["matching"]["images"] == images
    accuracy = report["runs"][0]["accuracy"]
    assert accuracy["images"] == images
    assert 0 < accuracy["metric"]["abs_rel"] < 1
    assert accuracy["median_scaled"]["abs_rel"] < accuracy["metric"]["abs_rel"] + 0.05
    assert sum(band["share"] for band in accuracy["bands"]) == pytest.approx(1)


def test_a_full_disk_is_one_sentence(rooms: Path, config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clip_depth_ros.cli", "replay", str(rooms), "--config", str(config)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), "--result-bag"],
        capture_output=True,
        text=True,
        timeout=120,
        # No file of this process may grow beyond 64 KiB, which ends its writing as a full disk does.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").glob("report.*"))
    assert not list((tmp_path / "out").glob("*result_bag*"))
