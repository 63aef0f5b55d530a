"""Imports run one way, the picture of them is the present one, and what the page names is where it says."""

from __future__ import annotations

import re

import pytest

from tests import architecture
from tests.architecture import (
    ROOT,
    between_packages,
    circles,
    drawn,
    imports,
    package_of,
    private_reads,
    upward,
)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return imports()


def test_no_import_runs_up(graph) -> None:
    assert upward(graph) == []


def test_no_two_modules_import_each_other(graph) -> None:
    assert circles(graph) == []


def test_algorithms_take_nothing_of_the_suite(graph) -> None:
    assert between_packages(graph)["algorithms"] == set()


def test_the_picture_is_of_the_present_imports() -> None:
    picture = (ROOT / "docs/images/architecture.svg").read_text(encoding="utf-8")
    assert picture == drawn(), "run: make architecture"


def test_every_file_that_the_page_names_is_there_and_holds_what_it_says() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+\.(?:py|yaml|md))(?:: (\w+))?`", page)
    files = [
        path
        for folder in ("bench", "algorithms", "paper_tables", "tests")
        for path in (ROOT / folder).rglob("*")
    ]
    files += [*ROOT.glob("*.yaml"), *(ROOT / "docs").glob("*.md")]
    for name, held in named:
        # METHOD.yaml stands for the file of any method.
        pattern = re.sub("[A-Z]+", "*", name)
        found = [path for path in files if path.match(pattern)]
        assert found, name
        assert not held or any(
            re.search(rf"\b{held}\b", path.read_text(encoding="utf-8")) for path in found
        ), held
    assert len(named) > 50


def test_every_package_has_a_place() -> None:
    folders = {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}
    assert folders <= set(architecture.ORDER), "a package that FLOORS does not name counts as ground"


def test_what_is_hidden_in_a_function_is_seen(tmp_path) -> None:
    for name in (
        "bench/__init__.py",
        "bench/store/__init__.py",
        "bench/cli/__init__.py",
        "algorithms/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('"""Nothing."""\n')
    (tmp_path / "bench/store/low.py").write_text("def late():\n    from bench.cli.high import go\n    go()\n")
    (tmp_path / "bench/cli/high.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bench.store.low\ndef go(): ...\n"
    )
    graph = imports(tmp_path)
    assert upward(graph) == [("bench.store.low", "bench.cli.high")]
    assert circles(graph) == [["bench.cli.high", "bench.store.low"]]


def test_modules_right_under_bench_are_the_ground() -> None:
    names = (
        "bench.errors",
        "bench.store.models",
        "algorithms.dtql",
        "bench",
        "bench.presets",
        "bench.__main__",
    )
    assert [package_of(name) for name in names] == [
        "ground", "store", "algorithms", "api", "presets", "__main__"
    ]  # fmt: skip


def test_private_names_are_found_in_every_guise() -> None:
    source = """\
from bench.a import _b, c, __version__
from bench import d
import bench.e
import os
os._exit(c.f + self._g)
d._h()
c.Class._i
bench.e._j
patch.setattr(d, '_k', 1)
patch.setattr('bench.e._l', 1)
"""
    assert sorted(line for line, _ in private_reads(source)) == [1, 6, 7, 8, 9, 10]


def test_no_test_reads_a_private_name_of_another_module() -> None:
    found = [
        f"{path.relative_to(ROOT)} line {line}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, text in private_reads(path.read_text(encoding="utf-8"))
    ]
    assert not found
