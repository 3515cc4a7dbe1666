"""Rendered rooms are read whole, packed and counted."""

import numpy as np
from pictures_on_disk import prepare, refusal
from rooms_on_disk import write_rooms

from clip_depth_training.data_sets import open_data_set


def test_rooms_are_counted_and_shown(tmp_path, capsys):
    write_rooms(tmp_path, 3)
    assert prepare("rooms", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "rooms                 3\n" in printed
    assert "samples               9\n" in printed
    assert "32x32 (9)" in printed
    assert "pixels with depth     100.0 %" in printed
    assert (tmp_path / "contact_sheet.png").is_file()
    assert len(open_data_set(tmp_path)) == 9


def test_a_bad_room_is_named_even_when_the_rooms_are_packed(tmp_path, capsys):
    write_rooms(tmp_path, 3)
    assert prepare("rooms", tmp_path) == 0
    file = tmp_path / "room_000001.npz"
    whole = file.read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:]):
        file.write_bytes(content)
        assert f"{file} is not a rendered room" in refusal(capsys, "rooms", tmp_path)
    file.write_bytes(whole)
    with np.load(file) as content:
        arrays = dict(content)
    for change, said in (
        ({"depth": arrays["depth"] * 0}, "view 0 has no depth reading"),
        ({"depth": arrays["depth"][:, :16]}, "do not belong together"),
        ({"depth": arrays["depth"].astype(np.uint8)}, "do not belong together"),
        ({"intrinsics": arrays["intrinsics"][:1]}, "do not belong together"),
    ):
        np.savez_compressed(file, **{**arrays, **change})
        assert said in refusal(capsys, "rooms", tmp_path)
        assert "room_000001" in refusal(capsys, "rooms", tmp_path)


def test_a_folder_without_rooms_is_one_sentence(tmp_path, capsys):
    assert "holds no rendered rooms" in refusal(capsys, "rooms", tmp_path)
