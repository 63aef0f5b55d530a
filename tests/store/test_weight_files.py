"""Files of weights that a store names: of its own making, in its own folder, as stored; or refused."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.execute.reevaluate import reevaluate
from bench.records import WeightsRecord
from bench.store.database import open_store
from bench.store.weight_files import (
    CHANGED,
    copy_verified,
    is_weights_name,
    read_verified,
    weights_name,
)
from bench.store.writer import Writer
from bench.visible_text import quoted
from tests.store import samples
from tests.store.databases import change, everything
from tests.store.merges import evaluated, finished, merged

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OWN = "weights/0.safetensors"
FOREIGN = [
    "bench.sqlite-journal",
    "bench.sqlite-wal",
    "bench.sqlite",
    "weights",
    "weights/",
    "weights/.safetensors",
    "weights/.hidden.safetensors",
    "weights/x",
    "weights/x.safetensors/",
    "weights/../x.safetensors",
    "weights/../bench.sqlite-journal",
    "weights/a/x.safetensors",
    "weights//etc/x.safetensors",
    "weights\\x.safetensors",
    "weights/..\\x.safetensors",
    "Weights/x.safetensors",
    "./weights/x.safetensors",
    "/etc/passwd",
    "/weights/x.safetensors",
    "../weights/x.safetensors",
    "checkpoints/x.safetensors",
    "drivers/x.lock",
    "~/x.safetensors",
    "file:///etc/passwd",
    "",
    ".",
    "weights/x\n.safetensors",
    "weights/\x1b[31mx.safetensors",
    "weights/\u202ex.safetensors",
    "weights/x.safetensors\n",
    f"weights/{'x' * 255}.safetensors",
]
NOT_TEXT = [None, 7, b"weights/0.safetensors", "weights/nul\0.safetensors"]


def record(name: object) -> WeightsRecord:
    return WeightsRecord(samples.trial_record().key, "final", name, SHA256, len(CONTENT))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store's folder with one file of weights."""
    path = tmp_path / "store"
    (path / "weights").mkdir(parents=True)
    (path / OWN).write_bytes(CONTENT)
    return path


def test_names_that_bench_makes_are_its_own() -> None:
    stem = "dtql-released-collected-hopper-medium-0123456789ab-seed-7-final-89abcdef"
    assert weights_name(stem) == f"weights/{stem}.safetensors"
    for name in (stem, "a method (of mine)", "größe", "a.b+c=d@e", "x" * 243):
        assert is_weights_name(weights_name(name))


@pytest.mark.parametrize("name", FOREIGN + NOT_TEXT)
def test_a_name_of_any_other_form_is_neither_read_nor_written(folder: Path, tmp_path: Path, name) -> None:
    assert not is_weights_name(name)
    assert "is no name of a file of weights" in read_verified(folder, record(name))[1]
    (tmp_path / "target").mkdir()
    assert "is no name of a file of weights" in copy_verified(name, SHA256, folder, tmp_path / "target")
    assert list((tmp_path / "target").iterdir()) == []


def test_what_is_read_are_the_bytes_that_were_hashed(folder: Path, monkeypatch) -> None:
    """Another file takes its place while the first one is hashed."""
    hashed, wanted = hashlib.sha256, record(OWN)

    def slow(content: bytes):
        (folder / "other").write_bytes(b"planted")
        (folder / "other").replace(folder / OWN)
        return hashed(content)

    monkeypatch.setattr(hashlib, "sha256", slow)
    assert read_verified(folder, wanted) == (CONTENT, "")
    assert read_verified(folder, wanted) == (b"", CHANGED)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (lambda path, behind: path.symlink_to(behind), "is a link"),
        (lambda path, behind: path.symlink_to(path.name), "is a link"),
        (lambda path, _: os.mkfifo(path), "is no regular file"),
        (lambda path, _: path.mkdir(), "is no regular file"),
    ],
)
def test_what_is_no_file_of_the_store_is_not_read(folder: Path, tmp_path: Path, plant, told) -> None:
    (folder / OWN).rename(tmp_path / "behind")
    plant(folder / OWN, tmp_path / "behind")
    assert told in read_verified(folder, record(OWN))[1]
    target = tmp_path / "target"
    assert told in copy_verified(OWN, SHA256, folder, target)
    assert not target.exists()


def test_a_link_in_the_place_of_a_copy_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    (target / "weights").mkdir(parents=True)
    (target / OWN).symlink_to(outside)
    assert "is a link" in copy_verified(OWN, SHA256, folder, target)
    assert not outside.exists()


# Commands on a store that somebody changed.


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith((".lock", "-wal", "-shm"))
    }


def named(path: Path, name: str) -> None:
    """Let the store at `path` say that its weights are called `name`."""
    with open_store(path) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE weights SET path = ?, sha256 = ?", (name, SHA256))


@pytest.mark.parametrize(
    ("name", "dry"), [(name, False) for name in FOREIGN] + [(name, True) for name in FOREIGN[::5]]
)
def test_a_merge_with_such_a_name_writes_nothing(machine, tmp_path: Path, capsys, name: str, dry) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    named(b, name)
    before, rows = snapshot(a.parent), everything(str(a))
    with pytest.raises(SystemExit) as exit_:
        main(["db", "merge", str(a), str(b), *(["--dry-run"] if dry else [])])
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert f"store {b} says that weights lie at {quoted(name)}" in said
    assert (snapshot(a.parent), everything(str(a))) == (before, rows)
    assert not (tmp_path / "a" / "x.safetensors").exists()


@pytest.mark.parametrize("linked", ["source folder", "source file", "target folder"])
def test_a_merge_with_a_link_writes_nothing(machine, tmp_path: Path, capsys, linked: str) -> None:
    a, b = machine("a"), machine("b", evaluated(1), finished())
    change(str(b), f"UPDATE weights SET sha256 = '{SHA256}'")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "0.safetensors").write_bytes(CONTENT)
    if linked == "source folder":
        (b.parent / "weights").symlink_to(outside)
    else:
        (b.parent / "weights").mkdir()
        (b.parent / OWN).symlink_to(outside / "0.safetensors")
    if linked == "target folder":
        (b.parent / OWN).unlink()
        (b.parent / OWN).write_bytes(CONTENT)
        (outside / "0.safetensors").unlink()
        (a.parent / "weights").symlink_to(outside)
    before, rows = snapshot(a.parent), everything(str(a))
    assert merged(a, b) == 2
    assert "is a link" in capsys.readouterr().err
    assert (snapshot(a.parent), everything(str(a))) == (before, rows)
    assert [path.name for path in outside.iterdir()] == (
        [] if linked == "target folder" else ["0.safetensors"]
    )


def test_such_a_name_in_the_store_that_is_merged_into_harms_nothing(machine) -> None:
    a, b = machine("a", evaluated(1), finished()), machine("b", evaluated(1), finished())
    named(a, "bench.sqlite-journal")
    before = snapshot(a.parent)
    merged(a, b)
    assert snapshot(a.parent).keys() == before.keys()


@pytest.mark.parametrize("name", ["bench.sqlite-journal", "weights/../x", "/etc/passwd"])
def test_an_export_with_such_a_name_writes_nothing(machine, tmp_path: Path, capsys, name: str) -> None:
    b = machine("b", evaluated(1), finished())
    named(b, name)
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(SystemExit) as exit_:
        main(["db", "export", str(target / "bench.sqlite"), "--weights", "--store", str(b)])
    assert exit_.value.code == 2
    assert f"says that weights lie at {name!r}" in capsys.readouterr().err
    assert list(target.iterdir()) == []


def test_an_export_is_not_put_beside_a_journal_that_would_undo_it(machine, tmp_path: Path, capsys) -> None:
    b = machine("b", evaluated(1), finished())
    (tmp_path / "out.sqlite-journal").write_bytes(b"planted")
    with pytest.raises(SystemExit) as exit_:
        main(["db", "export", str(tmp_path / "out.sqlite"), "--store", str(b)])
    assert exit_.value.code == 2
    assert "is a store that is in use" in capsys.readouterr().err
    assert not (tmp_path / "out.sqlite").exists()


@pytest.mark.parametrize("name", ["weights/../x", "/etc/passwd", "/dev/zero"])
def test_explain_and_evaluate_read_no_such_file(machine, capsys, name: str) -> None:
    b = machine("b", evaluated(1), finished())
    named(b, name)
    with pytest.raises(SystemExit):
        main(["explain", "1", "--store", str(b)])
    assert "is no name of a file of weights" in capsys.readouterr().out
    with open_store(b) as store, pytest.raises(BenchError, match="is no name of a file of weights"):
        reevaluate(store, 1, episodes=1, physics=None, threads=1)


def test_weights_that_are_no_weights_are_told(machine) -> None:
    """Whoever wrote the row gave it the hash of the file."""
    b = machine("b", evaluated(1), finished())
    named(b, OWN)
    (b.parent / "weights").mkdir()
    (b.parent / OWN).write_bytes(CONTENT)
    with open_store(b) as store, pytest.raises(BenchError, match="the weights of trial 1 cannot be used"):
        reevaluate(store, 1, episodes=1, physics=None, threads=1)


def test_a_driver_says_at_once_that_its_weights_would_go_elsewhere(tmp_path: Path, empty: Path) -> None:
    shutil.copy(empty, tmp_path / "bench.sqlite")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "weights").symlink_to("elsewhere")
    with (
        open_store(tmp_path / "bench.sqlite") as store,
        pytest.raises(BenchError, match="weights is a link"),
        Writer(store),
    ):
        pass
