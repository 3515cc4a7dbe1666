"""Files are written whole or not at all, and not begun where they cannot fit."""

import os
import shutil

import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing, require_space, writable_folder


def test_space_is_required_before_work_starts(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path / "new" / "folder", 1)
    assert not (tmp_path / "new").exists()
    with pytest.raises(BadInput, match=r"[0-9.]+ GiB will be written") as refused:
        require_space(tmp_path / "new", free + (1 << 40))
    assert str(tmp_path / "new") in str(refused.value)
    with pytest.raises(BadInput, match="must stay free"):
        require_space(tmp_path, 1, spare=free + (1 << 40))


def test_a_file_is_replaced_whole_or_left_as_it_was(tmp_path):
    target = tmp_path / "folder" / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("first")
        assert not target.exists()
    with pytest.raises(TypeError), replacing(target) as temporary, temporary.open("w") as file:
        file.writelines(["second", 2])
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_file_where_a_folder_is_needed_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), replacing(tmp_path / "taken" / "a.txt"):
        pass


def test_a_written_file_may_be_read_by_whom_the_umask_lets(tmp_path):
    """safetensors writes files for their owner alone; weights are for every user of a robot."""
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "weights.bin") as temporary:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "weights.bin").stat().st_mode & 0o777 == 0o644
    with pytest.raises(BadInput, match="cannot be written"), replacing(tmp_path / "nothing.bin"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["weights.bin"]


def test_an_output_folder_is_made_or_refused_before_the_work(tmp_path):
    writable_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").is_dir()
    writable_folder(tmp_path / "new")
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="taken cannot be made"):
        writable_folder(tmp_path / "taken")
