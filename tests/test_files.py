"""Files are whole or not there, and nothing but files is ever replaced."""

import os
import stat

import pytest

from bench.files import write_text


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "below" / "a.txt"
    write_text(path, "first")
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [found.name for found in path.parent.iterdir()] == ["a.txt"]


def test_a_pipe_or_a_device_is_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Not a regular file") as raised:
        write_text(pipe, "x")
    assert raised.value.filename == str(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [found.name for found in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_in_the_way_and_a_file_in_place_of_a_folder_are_told(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as raised:
        write_text(tmp_path / "file" / "a.txt", "x")
    assert raised.value.filename == str(tmp_path / "file")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
