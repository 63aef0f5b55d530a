"""A defect of bench has an exit code of its own, and a file that tells it."""

import errno
import re
import stat
import sys
from importlib import import_module
from pathlib import Path

import pytest

from algorithms.registry import installed
from bench.cli import errors, listing
from bench.errors import WorkFailedError


@pytest.fixture
def failing(bench, monkeypatch, tmp_path):
    """Runs a command that raises; temporary files are kept apart."""
    monkeypatch.setattr(errors.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["bench", "list", "tasks", "--store", "postgresql://me:pa55word@host/x"])

    def run(error, *options):
        def raises(*_, **__):
            raise error

        monkeypatch.setattr(listing, "print_table", raises)
        return bench("list", "suites", *options)

    return run


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError("deep"), RuntimeError(""), AssertionError()])
def test_an_exception_that_nobody_foresaw_exits_with_70_and_names_its_file(failing, tmp_path, error):
    code, out, err = failing(error)
    assert code == 70
    assert out == ""
    assert err.startswith(f"bench: a defect of bench: {type(error).__name__}")
    assert "Traceback" not in err
    path = Path(re.search(r"\S+bench-defect-\S+\.txt", err)[0])
    assert path.parent == tmp_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = path.read_text()
    assert "Traceback" in told
    assert "command: bench list tasks --store postgresql://me@host/x" in told
    assert "python 3." in told


def test_the_traceback_is_shown_where_it_is_asked_for_or_no_file_can_be_written(failing, monkeypatch):
    _, _, err = failing(KeyError("x"), "--debug")
    assert "Traceback" in err
    assert "bench-defect-" in err
    monkeypatch.setattr(errors.tempfile, "tempdir", "/nonexistent")
    code, _, err = failing(KeyError("x"))
    assert code == 70
    assert "Traceback" in err
    assert "no file could be written" in err


def test_no_secret_and_no_escape_sequence_is_told(failing, tmp_path):
    _, _, err = failing(ValueError("\x1b[2J postgresql://me:pa55word@host/x"))
    assert "pa55word" not in err + next(tmp_path.glob("bench-defect-*")).read_text()
    assert "\x1b" not in err


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.EIO, errno.ENOSPC])
def test_what_the_machine_refuses_is_no_defect(failing, number):
    code, _, err = failing(OSError(number, "It is so", "some\x1bfile"))
    assert (code, err) == (2, "bench: cannot use 'some\\x1bfile'\n  It is so.\n")


def test_want_of_memory_is_no_defect(failing):
    code, _, err = failing(MemoryError("8 GiB"))
    assert (code, err.splitlines()[0]) == (1, "bench: not enough memory")


def test_with_debug_a_wrong_request_keeps_its_exit_code(failing):
    code, _, err = failing(WorkFailedError("it failed"), "--debug")
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("bench: it failed\n")


def test_what_the_machine_refuses_without_naming_a_file_is_not_told_as_the_output(failing):
    """As where a process may open no more files, or connect nowhere."""
    code, _, err = failing(OSError(errno.EMFILE, "Too many open files"))
    assert (code, err) == (2, "bench: the machine refuses what the command needs\n  Too many open files.\n")


@pytest.fixture
def raised_by_a_method(tmp_path, monkeypatch):
    """An error that came through the code of a method that is installed beside bench."""
    (tmp_path / "acme_rl-1.2.dist-info").mkdir()
    (tmp_path / "acme_rl-1.2.dist-info/METADATA").write_text("Name: acme-rl\nVersion: 1.2\n")
    (tmp_path / "acme_rl-1.2.dist-info/entry_points.txt").write_text("[bench.methods]\nacme = acme_rl:Acme\n")
    (tmp_path / "acme.yaml").write_text(
        "title: Acme\nconfiguration: Config\nstep_counts: [steps]\nphases: {train: steps}\nevaluated: train\n"
    )
    (tmp_path / "acme_rl.py").write_text("def train(): raise ValueError('no such head')\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield import_module("acme_rl").train
    installed.cache_clear()
    del sys.modules["acme_rl"]


def test_what_a_method_from_outside_raises_is_told_as_its_own_failure(failing, raised_by_a_method, tmp_path):
    with pytest.raises(ValueError) as raised:
        raised_by_a_method()
    code, _, err = failing(raised.value)
    assert (code, err.splitlines()[0]) == (
        1, "bench: method 'acme' of acme-rl 1.2 failed: ValueError: no such head"
    )  # fmt: skip
    path = Path(re.search(r"to its author with this file: (\S+bench-defect-\S+\.txt)", err)[1])
    assert "acme_rl.py" in path.read_text()
