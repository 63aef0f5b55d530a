"""Stores that may not be read or written: said once, exit code 2, nothing touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli import stores
from tests.cli.stores import ALL, MAKING, READING, WRITING, aimed

PROGRAM = """
import contextlib, io, json, os, sys
from bench.cli import main

for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Runs one command per line: the folder to stand in, what is typed. Starting it takes longer than they do."""
OBEYING = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Begins a command whose process is bound by permissions although root runs it."""


def started(data: Path, *before: object) -> subprocess.Popen[str]:
    """A process that runs commands; `before` begins its own command."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"BENCH_DATA_DIR": str(data), "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )


def told(
    process: subprocess.Popen[str], names: Sequence[str], store: Path, other: Path
) -> dict[str, tuple[int, str, str]]:
    """What each command says of a store: exit code, output, errors; `other` is a good store."""
    assert process.stdin is not None and process.stdout is not None
    answers = {}
    for name in names:
        line = json.dumps([str(store.parent.parent), aimed(ALL[name], store, other)])
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            _, errors = process.communicate()
            if "unshare" in errors or "mount:" in errors:
                pytest.skip(f"no private mounts here: {errors.strip()}")
            pytest.fail(errors)
        code, out, err = json.loads(answer)
        answers[name] = code, out, err
    return answers


@pytest.fixture(scope="module")
def bound(tiny_data: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is bound by permissions."""
    if os.geteuid() == 0 and shutil.which(OBEYING[0]) is None:
        pytest.skip("root cannot give up its rights without setpriv")
    with started(tiny_data, *(OBEYING if os.geteuid() == 0 else ())) as process:
        yield process
        process.kill()


@pytest.fixture
def obeying(bound: subprocess.Popen[str], other: Path):
    """Runs commands in that process."""
    return lambda names, store: told(bound, names, store, other)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good store. Only read."""
    return stores.store(tmp_path_factory.mktemp("other"), run_id="run-2", seed=1)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "folder"
    made.mkdir()
    yield made
    made.chmod(0o755)


def assert_refused(answer: tuple[int, str, str], *words: str) -> None:
    code, out, err = answer
    assert (code, out) == (2, ""), err
    assert err.startswith("bench: ")
    assert err.count("bench: ") == 1
    for word in words:
        assert word in err


def assert_read(answers: dict[str, tuple[int, str, str]]) -> None:
    assert {name: answer[0] for name, answer in answers.items()} == dict.fromkeys(READING, 0), answers
    assert answers["query"][1].split() == ["COUNT(*)", "1"]


def test_a_file_that_may_not_be_read_is_refused_by_every_command(obeying, folder: Path) -> None:
    store = stores.store(folder)
    before = stores.everything_in(folder)
    store.chmod(0o000)
    answers = obeying(ALL, store)
    store.chmod(0o644)
    for answer in answers.values():
        assert_refused(answer, str(store), "cannot be read")
    assert stores.everything_in(folder) == before


def test_a_file_that_may_not_be_written_is_read_and_no_more(obeying, folder: Path) -> None:
    store = stores.store(folder)
    store.chmod(0o444)
    before = stores.everything_in(folder)
    for answer in obeying(WRITING, store).values():
        assert_refused(answer, str(store), "cannot be written")
    assert stores.everything_in(folder) == before
    assert_read(obeying(READING, store))
    assert stores.everything_in(folder) == before


def test_a_folder_that_may_not_be_written_is_read_and_no_more(obeying, folder: Path) -> None:
    store = stores.store(folder)
    folder.chmod(0o555)
    before = stores.everything_in(folder)
    for answer in obeying(WRITING, store).values():
        assert_refused(answer, str(folder), "cannot be written into")
    assert_read(obeying(READING, store))
    assert stores.everything_in(folder) == before


def test_nothing_is_made_in_a_folder_that_may_not_be_written(obeying, folder: Path) -> None:
    folder.chmod(0o555)
    for store in (folder / "bench.sqlite", folder / "below" / "bench.sqlite"):
        for answer in obeying(MAKING, store).values():
            assert_refused(answer, "cannot be written into")
    assert list(folder.iterdir()) == []


def test_a_folder_that_may_not_be_entered_is_said(obeying, folder: Path) -> None:
    store = stores.store(folder)
    before = stores.everything_in(folder)
    folder.chmod(0o644)
    answers = obeying(ALL, store)
    folder.chmod(0o755)
    for answer in answers.values():
        assert_refused(answer, str(store), "Permission denied")
    assert stores.everything_in(folder) == before


def test_a_read_only_file_system_is_read_and_no_more(
    folder: Path, other: Path, tmp_path: Path, tiny_data: Path
) -> None:
    stores.store(folder)
    before = stores.everything_in(folder)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    script = f'mount --bind {folder} {mounted} && mount -o remount,bind,ro {mounted} && exec "$@"'
    private = ("unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh")
    with started(tiny_data, *private) as process:
        answers = told(process, list(ALL), mounted / "bench.sqlite", other)
        process.kill()
    for name in WRITING:
        assert_refused(answers[name], str(mounted), "cannot be written into", "read-only")
    assert_read({name: answers[name] for name in READING})
    assert answers["dry run"][0] == 0
    assert stores.everything_in(folder) == before
