"""The pages of docs/methods are what `make methods` makes, and say what presets and tables hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from algorithms.registry import OWN, method
from bench.catalog import load_catalog
from bench.presets import RELEASED, PresetFiles, Setting, preset_of
from bench.report.paper import AGGREGATES, SCORE, load_paper_tables
from tests.method_pages.__main__ import write
from tests.method_pages.pages import FOLDER, INDEX, pages
from tests.method_pages.settings import Grid, Row, as_it_is, folded, settings_table

CATALOG = load_catalog()
ANTMAZE = ("antmaze-umaze-v0", "antmaze-umaze-v2", "antmaze-large-play-v0", "antmaze-large-play-v2")
GYM = ("halfcheetah-medium-v2", "hopper-medium-v2", "walker2d-medium-v2")


@pytest.fixture(scope="module")
def files() -> PresetFiles:
    return PresetFiles()


@pytest.fixture(scope="module")
def made(files: PresetFiles) -> dict[str, str]:
    return pages(files)


@pytest.mark.parametrize("name", OWN)
def test_every_method_of_this_package_states_its_formulas(name: str) -> None:
    formulas = method(name).formulas
    assert formulas, (
        f"algorithms/presets/{name}.yaml has no formulas: write each loss, target and weight, and how it "
        "acts, with its source (algorithms.declaration.Formula explains the keys), then run: make methods"
    )
    assert "Acting" in [formula.name for formula in formulas], (
        f"{name}.yaml: a formula named Acting is missing"
    )


@pytest.mark.parametrize("name", OWN)
def test_formulas_are_such_as_github_renders(name: str) -> None:
    for formula in method(name).formulas:
        text = formula.formula + formula.note
        # Markdown takes a backslash before a sign for itself, and GitHub refuses \operatorname.
        assert not re.findall(r"\\[^A-Za-z]|\\operatorname|\n", text), formula.name
        assert text.count("{") == text.count("}"), formula.name
        assert len(re.findall(r"\\left\b", text)) == len(re.findall(r"\\right\b", text)), formula.name
        assert formula.note.count("$") % 2 == 0, formula.name


@pytest.mark.parametrize("name", OWN)
def test_settings_that_notes_name_exist(name: str) -> None:
    known = set(method(name).hyperparameters())
    words = {word for formula in method(name).formulas for word in re.findall(r"`(\w+_\w+)`", formula.note)}
    assert words <= known


@pytest.mark.parametrize("page", [INDEX, *(f"{name}.md" for name in OWN)])
def test_every_page_is_what_the_command_makes(page: str, made: dict[str, str]) -> None:
    path = FOLDER / page
    assert path.exists(), f"docs/methods/{page} is missing; run: make methods"
    assert path.read_text(encoding="utf-8") == made[page], f"docs/methods/{page} is stale; run: make methods"


def test_there_is_no_page_of_a_method_that_is_no_more(made: dict[str, str]) -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == set(made), "run: make methods"


def test_a_page_of_a_method_that_is_no_more_goes(tmp_path: Path, monkeypatch, made: dict[str, str]) -> None:
    monkeypatch.setattr("tests.method_pages.__main__.pages", lambda files: made)
    (tmp_path / "gone.md").write_text("old")
    write(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == made


@pytest.mark.parametrize("name", OWN)
def test_every_value_and_source_of_a_preset_stands_on_the_page(
    name: str, files: PresetFiles, made: dict[str, str]
) -> None:
    presets, page = files[name], made[f"{name}.md"].replace("\\|", "|")
    for variant in presets.variants:
        for task in (presets.tasks[0], presets.tasks[-1]):
            preset = preset_of(presets, CATALOG.task(task), variant)
            for parameter, setting in preset.hyperparameters.items():
                assert f"| `{parameter}`<br>" in page
                assert setting.source in page, parameter


def test_every_printed_score_stands_on_the_page_of_its_method(made: dict[str, str]) -> None:
    """The columns of a page, read back, are the paper's; those of several protocols are told apart."""
    columns: dict[tuple[str, ...], dict[str, str]] = {}
    for table_id, table in load_paper_tables().items():
        for cell in table.rows:
            if cell.metric == SCORE and cell.algorithm in OWN and cell.mean is not None:
                key = (cell.algorithm, table_id, cell.method, cell.protocol)
                columns.setdefault(key, {})[cell.task] = cell.text
    assert len(columns) > 50
    for (algorithm, table_id, printed, protocol), numbers in columns.items():
        page = made[f"{algorithm}.md"]
        rule = f"`{protocol}`" if protocol else "not known"
        (line,) = (line for line in page.splitlines() if f"(`{table_id}`) | {printed} | {rule} |" in line)
        found = read_column(page, line.split("|")[1].strip())
        tasks = {task: number for task, number in numbers.items() if task not in AGGREGATES}
        assert {task: found[task].strip("*†") for task in tasks} == tasks


def test_bold_numbers_are_those_that_may_be_judged(made: dict[str, str]) -> None:
    bold = {
        (f"{name}.md", task, number.strip("*"))
        for name in OWN
        for column in map(str, range(1, 20))
        for task, number in read_column(made[f"{name}.md"], column).items()
        if number.startswith("**")
    }
    judged = {
        (f"{cell.algorithm}.md", cell.task, cell.text)
        for table in load_paper_tables().values()
        for cell in table.rows
        if cell.accepts_variants and not cell.errata and cell.mean is not None and cell.metric == SCORE
        if cell.task not in AGGREGATES and cell.algorithm in OWN
    }
    assert judged <= bold
    # An ablation's numbers stand on the page of the method that it is of.
    assert {place for place in bold - judged if place[0] != "edp-td3.md"} == set()


def read_column(page: str, column: str) -> dict[str, str]:
    """Cells of a numbered column of printed scores by task."""
    part = page.partition("## Printed numbers")[2].partition("Times and other")[0]
    found: dict[str, str] = {}
    place = None
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells[:1] == ["task"]:
            place = cells.index(column) if column in cells else None
        elif place is not None and len(cells) > place and cells[place] and cells[0] and "---" not in cells[0]:
            found[cells[0]] = cells[place]
    return found


# Folding


def row(values: dict[str, object], paper: dict[str, object] | None = None) -> Row:
    per_variant = {RELEASED: {task: Setting(value, f"of {value}") for task, value in values.items()}}
    if paper is not None:
        per_variant["paper"] = {task: Setting(value, f"of {value}") for task, value in paper.items()}
    return Row("width", "units", per_variant, CATALOG)


def test_what_holds_everywhere_is_said_once() -> None:
    assert folded(row(dict.fromkeys((*ANTMAZE, *GYM), 256)), as_it_is) == (
        "`width`\nunits", "256", "", "of 256"
    )  # fmt: skip


def test_what_differs_is_said_of_domains_versions_and_tasks() -> None:
    by_domain = row({**dict.fromkeys(ANTMAZE, 1), **dict.fromkeys(GYM, 2)})
    assert folded(by_domain, as_it_is)[1:3] == ("1", "locomotion: 2 [of 2]")
    by_version = row({**dict.fromkeys(ANTMAZE, 1), ANTMAZE[1]: 3, ANTMAZE[3]: 3, **dict.fromkeys(GYM, 1)})
    assert folded(by_version, as_it_is)[1:3] == ("1", "`antmaze-*-v2`: 3 [of 3]")
    by_task = row({**dict.fromkeys(ANTMAZE, 1), **dict.fromkeys(GYM, 1), GYM[1]: 4})
    assert folded(by_task, as_it_is)[1:3] == ("1", "hopper-medium-v2: 4 [of 4]")


def test_a_variant_is_told_where_it_differs() -> None:
    same = dict.fromkeys((*ANTMAZE, *GYM), 1)
    assert (
        folded(row(same, {**same, **dict.fromkeys(GYM, 5)}), as_it_is)[2] == "`paper`, locomotion: 5 [of 5]"
    )
    assert folded(row(same, dict.fromkeys(same, 5)), as_it_is)[2] == "`paper`: 5 [of 5]"


def test_many_values_are_a_table_with_equal_versions_together() -> None:
    lines = settings_table([row({GYM[0]: 1, GYM[1]: 2, GYM[2]: 3, **dict.fromkeys(ANTMAZE, 9)})], as_it_is)
    assert lines[2].split(" | ")[1:3] == ["task by task, below", "AntMaze: 9 [of 9]"]
    assert lines[4:6] == ["| task | `width` |", "|---|---|"]
    assert lines[6:] == [*(f"| {task} | {value} |" for value, task in enumerate(GYM, 1)), ""]


def test_groups_name_no_task_that_is_not_meant() -> None:
    grid = Grid(CATALOG, (*ANTMAZE, *GYM))
    assert grid.groups(ANTMAZE[:3]) == ["`antmaze-*-v0`", "antmaze-umaze-v2"]
    assert grid.described((*ANTMAZE, *GYM)) == ""
