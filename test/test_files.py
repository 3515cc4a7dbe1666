"""Files are written whole or not at all, and not begun where they cannot fit."""

import shutil

import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing, require_space


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
