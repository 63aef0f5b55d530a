"""Paths as people type them: `~` is the home folder in each of them; a store is one by all its names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from bench.errors import BenchError
from bench.files import typed_path
from bench.store.claims import ClaimedStack, Nothing
from bench.store.database import open_store
from bench.store.location import locate
from bench.store.status import running_stacks
from bench.store.writer import Writer
from tests.commands import leaves
from tests.store import samples

TRIAL = samples.trial_record()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; the process stands in another one."""
    folder, here = tmp_path / "home", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(here)
    return folder


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("~/x/bench.sqlite", "x/bench.sqlite"),
        ("~//x.sqlite", "x.sqlite"),
        ("sqlite:///~/x.sqlite", "x.sqlite"),
        ("sqlite+pysqlite:///~/x.sqlite", "x.sqlite"),
        ("~root/x.sqlite", None),
    ],
)
def test_a_store_in_the_home_folder(home: Path, typed: str, path: str | None) -> None:
    wanted = home / path if path else Path("~root").expanduser() / "x.sqlite"
    location = locate(typed)
    assert (location.path, location.folder) == (wanted, wanted.parent)
    assert str(location) == str(wanted)


@pytest.mark.parametrize("typed", ["./~/x.sqlite", "a/~/x.sqlite", "a~b.sqlite", "sqlite:////~/x.sqlite"])
def test_a_tilde_elsewhere_stands_for_itself(home: Path, typed: str) -> None:
    assert "~" in str(locate(typed).path)


@pytest.mark.parametrize("typed", ["~nosuchuser/x.sqlite", "sqlite:///~nosuchuser/x", "~nosuchuser"])
def test_a_home_folder_that_nobody_knows_is_told(home: Path, typed: str) -> None:
    with pytest.raises(BenchError, match="there is no user 'nosuchuser'"):
        locate(typed)


def test_a_user_without_a_home_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BenchError, match="HOME is not set"):
        locate("~/x.sqlite")
    with pytest.raises(BenchError) as error:
        typed_path("~/" + "x" * 5000)
    assert len(error.value.what) < 300


def test_every_path_that_is_typed_goes_through_one_converter() -> None:
    found = {}
    for command in leaves().values():
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            kind, option = get_args(hint) if get_origin(hint) is Annotated else (hint, None)
            if Path in (kind, *get_args(kind)):
                found[command.name, name] = getattr(option, "parser", None)
    assert {name for _, name in found} >= {"out", "margins", "config"}
    assert [key for key, parser in found.items() if parser is not typed_path] == []


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["db", "export", "~/out.sqlite"], "out.sqlite"),
        (["report", "--out=~/tables", "--format", "csv"], "tables"),
        (["check", "--out=~/check.json", "--format", "json"], "check.json"),
    ],
)
def test_what_is_written_to_the_home_folder_lies_there(bench, home: Path, arguments, made) -> None:
    with open_store("~/store/bench.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
        writer.plan([TRIAL])
        writer.end_run("run-1")
    bench(*arguments, "--store=~/store/bench.sqlite")
    assert (home / made).exists()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["db", "export", "~nosuchuser/out.sqlite"],
        ["report", "--out=~nosuchuser/tables"],
        ["check", "--margins=~nosuchuser/margins.yaml"],
        ["serve", "--margins", "~nosuchuser/margins.yaml"],
        ["nightly", "--config=~nosuchuser/nightly.yaml"],
        ["data", "collect", "hopper-medium", "--out=~nosuchuser/x.hdf5"],
        ["status", "--store=~nosuchuser/x.sqlite"],
        ["query", "SELECT 1", "--store=sqlite:///~nosuchuser/x.sqlite"],
        ["db", "merge", "~nosuchuser/x.sqlite", "other.sqlite"],
    ],
)
def test_a_command_tells_of_an_unknown_home_folder(bench, home: Path, arguments) -> None:
    code, _, said = bench(*arguments)
    assert (code, "there is no user 'nosuchuser'" in said) == (2, True)
    assert list(Path.cwd().iterdir()) == []


# A store reached through links.


@pytest.fixture
def names(tmp_path: Path) -> dict[str, Path]:
    """One store under several names."""
    real = tmp_path / "disk" / "store" / "bench.sqlite"
    open_store(real).close()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.sqlite").symlink_to(real)
    (tmp_path / "elsewhere" / "again.sqlite").symlink_to("linked.sqlite")
    (tmp_path / "folder").symlink_to(real.parent)
    return {
        "real": real,
        "file": tmp_path / "elsewhere" / "linked.sqlite",
        "link to a link": tmp_path / "elsewhere" / "again.sqlite",
        "folder": tmp_path / "folder" / "bench.sqlite",
    }


def test_the_folder_of_a_store_is_the_same_by_all_its_names(names: dict[str, Path]) -> None:
    assert {locate(path).folder for path in names.values()} == {names["real"].parent}


@pytest.mark.parametrize("name", ["file", "link to a link", "folder"])
def test_drivers_that_know_a_store_by_two_names_see_each_other(names: dict[str, Path], name: str) -> None:
    real, linked = names["real"], names[name]
    with open_store(real) as one, open_store(linked) as two, Writer(one) as first, Writer(two) as second:
        first.begin_run(samples.run_record("run-1"))
        second.begin_run(samples.run_record("run-2"))
        first.plan([TRIAL])
        assert isinstance(first.claim(TRIAL.key.cell, {0}, 1), ClaimedStack)
        assert second.claim(TRIAL.key.cell, {0}, 1) is Nothing.HELD
        assert [stack.run_id for stack in running_stacks(two)] == ["run-1"]
        assert [path.name[:5] for path in sorted((real.parent / "drivers").iterdir())] == ["run-1", "run-2"]
    left = {path.name for path in linked.parent.iterdir()} - {path.name for path in names.values()}
    assert left <= {"bench.sqlite.lock", "drivers"} if name == "folder" else left == set()


@pytest.mark.parametrize("name", ["file", "link to a link", "folder"])
def test_a_store_that_is_written_is_not_upgraded_by_another_name(bench, names: dict[str, Path], name) -> None:
    with open_store(names["real"]) as store, Writer(store):
        code, _, said = bench("db", "upgrade", "--store", names[name])
    assert (code, "is being written by another process" in said) == (2, True)


def test_a_store_is_not_merged_with_itself_by_another_name(bench, names: dict[str, Path]) -> None:
    code, _, said = bench("db", "merge", names["real"], names["file"])
    assert (code, "is named twice" in said) == (2, True)


@pytest.mark.parametrize(
    "command", [("status", "--store"), ("db", "upgrade", "--store"), ("db", "merge", "x")]
)
def test_a_path_with_the_zero_character_is_told(bench, command) -> None:
    """No shell can type one; a file such as nightly.yaml can hold one."""
    code, _, said = bench(*command, "a\0b")
    assert (code, "No path can hold the zero character." in said) == (2, True)
