"""Tables on a terminal: as wide as it is, the verdicts first, nothing lost by stacking."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.report.build import judged_tables
from bench.report.formats.terminal import rendered
from bench.report.judgement import Judgement
from bench.report.margins import load_margins
from bench.report.tables import Table
from tests.report.builders import toy_table
from tests.report.filled import filled_data


def shown(tables: list[Table], width: int, judgement: Judgement | None = None) -> list[str]:
    console = Console(width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        for part in rendered(tables, judgement or Judgement(), width, str):
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_longer_than_the_terminal(width):
    tables, judgement = judged_tables("dtql-1,combined,dtql-2", filled_data(), load_margins())
    lines = shown(tables, width, judgement)
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith("Verdicts: ")


def test_methods_that_do_not_fit_are_stacked_and_none_is_lost():
    (table,), _ = judged_tables("combined", filled_data(), load_margins())
    wide, narrow = shown([table], 400), shown([table], 80)
    for column in table.blocks[0].columns:
        assert all(word in " ".join(narrow) for word in column.header.split())
    for row in table.blocks[0].rows:
        name = row.cells[0].text
        assert sum(line.startswith(f"{name} ") for line in narrow) > sum(
            line.startswith(f"{name} ") for line in wide
        )
        for cell in row.cells[1:]:
            assert cell.text in " ".join(narrow)


def test_every_mark_and_note_is_explained_below():
    text = "\n".join(shown([toy_table()], 100))
    assert "[a]" in text.partition("\n [a]")[0]
    assert "\n [a]" in text


def test_a_text_is_shown_as_whoever_prints_it_wishes():
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        for part in rendered([toy_table()], Judgement(), 80, lambda text: text.replace("±", "+/-")):
            console.print(part)
    assert "±" not in capture.get()
