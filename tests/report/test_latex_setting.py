"""How LaTeX tables are set: type as large as fits, turned where it must be, and nothing beyond a page."""

from bench.report.formats.latex import (
    FOOTNOTE,
    LANDSCAPE,
    PORTRAIT,
    SCRIPT,
    SMALL,
    Setting,
    header_lines,
    setting_of,
    spread,
)
from bench.report.tables import Block, Cell, Column, Row


def block(rows=5, columns=4, text="0123456789"):
    names = (Column("task", "Task", "label"), *(Column(str(n), "H", "printed") for n in range(columns - 1)))
    return Block("", names, tuple(Row((Cell("label", text),) * columns) for _ in range(rows)))


def test_the_largest_type_that_fits():
    # Ten characters a column: 4.7, 4.2 or 3.7 points each and a gap of 6, on 510 or 750 points.
    expected = {4: (SMALL, PORTRAIT), 9: (SMALL, PORTRAIT), 10: (FOOTNOTE, PORTRAIT), 11: (SCRIPT, PORTRAIT)}
    expected |= {
        13: (SMALL, LANDSCAPE),
        15: (FOOTNOTE, LANDSCAPE),
        17: (SCRIPT, LANDSCAPE),
        40: (SCRIPT, LANDSCAPE),
    }
    for columns, (size, page) in expected.items():
        assert setting_of([block(columns=columns)]) == Setting(size, page)


def test_one_wide_block_sets_the_type_of_all():
    assert setting_of([block(columns=4), block(columns=15)]).sideways


def test_long_headers_are_broken_but_no_word_is():
    lines = header_lines(Column("k", "DTQL with KL regulariser (DQL_KL) measured", "measured"))
    assert " ".join(lines) == "DTQL with KL regulariser (DQL_KL) measured"
    assert max(map(len, lines)) <= 13


def test_rows_fill_pages_and_none_is_lost():
    pages = spread([block(rows=150), block(rows=7)], Setting(SMALL, PORTRAIT), "short")
    sizes = [[len(part.rows) for part in page] for page in pages]
    assert sum(sum(page) for page in sizes) == 157
    assert len(pages) == 3
    # A line of \\small takes 11 points, a page has 700.
    assert all(11 * sum(page) <= 700 for page in sizes)


def test_notes_that_do_not_fit_below_stand_on_a_page_of_their_own():
    setting = Setting(SMALL, PORTRAIT)
    assert len(spread([block(rows=50)], setting, "short")) == 1
    pages = spread([block(rows=50)], setting, "word " * 2000)
    assert [len(page) for page in pages] == [1, 0]
