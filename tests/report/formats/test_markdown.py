"""Markdown: golden text, alignment, and names that would break a table."""

from bench.report.formats.markdown import escape, render
from bench.report.shortening import compact
from tests.report.builders import check_golden, measured, toy_table


def test_golden():
    check_golden("table.md", render([toy_table()]))


def test_golden_compact():
    check_golden("compact.md", render([compact(toy_table())]))


def test_every_line_of_a_block_is_equally_wide():
    for block in render([toy_table()]).split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            assert len({len(line) for line in lines}) == 1
            assert len({line.count("|") for line in lines}) == 1


def test_names_cannot_open_cells_markup_or_html():
    assert escape("a|b*c`d<e>&\\\n f") == "a\\|b\\*c\\`d&lt;e>&amp;\\\\ f"
    assert escape("[x](y) _z_ a_b ~~c~~") == "\\[x](y) \\_z\\_ a_b \\~\\~c\\~\\~"


def test_a_compact_table_of_a_collected_task_fits_a_terminal():
    reduced = ("budget 0.001", "evaluations 2", "episodes 3")
    twin = measured("collected-hopper-quickstart", (12.3, 110.1), twin_of="hopper-medium-v2", reduced=reduced)
    lines = render([compact(toy_table(twin))]).splitlines()
    assert max(len(line) for line in lines if line.startswith("|")) <= 120
