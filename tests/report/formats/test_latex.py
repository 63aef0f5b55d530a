"""LaTeX: golden text, escaping, how tables are set, and a real pdflatex where there is one."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from bench.report.formats.latex import (
    FOOTNOTE,
    LANDSCAPE,
    PORTRAIT,
    SCRIPT,
    SMALL,
    Typesetting,
    document,
    escape,
    header_lines,
    render,
    spread,
    typesetting_of,
)
from bench.report.measured import ReportData
from bench.report.tables import Block, Cell, Column, Row
from tests.report.builders import build_table, check_golden, measured, toy_table
from tests.report.filled import all_ids, filled_data, filled_judgement


def test_golden():
    check_golden("table.tex", render([toy_table()]))


def test_every_special_character_is_escaped():
    assert escape("a_b&c%d$e#f{g}h~i^j\\k") == (
        r"a\_b\&c\%d\$e\#f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )
    assert escape("1 ± 2 † <x>") == r"1 $\pm$ 2 $\dagger$ \textless{}x\textgreater{}"
    # A bracket or a star behind the end of a row would be read as its argument.
    assert escape("[1] *x*") == "{[}1] {*}x{*}"
    assert escape("--full\nok") == "-{}-full ok"
    assert escape("漢") == "?"


def test_what_holds_throughout_takes_no_column():
    text = render([toy_table(measured(), measured("hopper-medium-v2", (1.0, 2.0, 3.0)))])
    assert "Budget" not in text
    assert "(n=3)" not in text
    assert "Throughout: budget 1, physics d4rl, task v. 1, n = 3." in text


def test_margins_are_stated_once_and_referred_to():
    tables = [build_table(name, filled_data(), filled_judgement()) for name in ("dtql-1", "dtql-3", "srpo-1")]
    text = render(tables)
    assert text.count(r"Error rates: 5 \%, 100 \% stated.") == 1
    assert text.count(r"Verdicts: see Table~\ref{tab:dtql-1}.") == 2


def test_verdicts_are_marked_without_a_package():
    text = render([build_table("dtql-1", filled_data(), filled_judgement())])
    for mark in (r"$^{\approx}$", r"$^{\downarrow}$", r"$^{\uparrow}$", "$^{?}$"):
        assert mark in text
    assert r"$\downarrow$ not reproduced, below" in text


def test_wide_tables_are_turned_and_long_ones_continued():
    tables = {name: build_table(name, filled_data(), filled_judgement()) for name in all_ids()}
    assert r"\begin{sidewaystable*}" in render([tables["combined"]])
    assert r"\begin{table*}[p]" in render([tables["dtql-2"]])
    rows = tuple(tables["dtql-7"].blocks[0].rows) * 6
    long = replace(tables["dtql-7"], blocks=(replace(tables["dtql-7"].blocks[0], rows=rows),))
    text = render([long])
    assert text.count("(continued).") >= 1
    assert text.count("walker2d-medium-v2 &") == 6
    assert text.count(r"\label{") == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (make system-deps)")
@pytest.mark.parametrize("full", [False, True], ids=["empty", "filled"])
def test_the_document_compiles(tmp_path, full):
    data, judgement = (filled_data(), filled_judgement()) if full else (ReportData(), None)
    tables = [toy_table(), *(build_table(name, data, judgement) for name in all_ids())]
    (tmp_path / "report.tex").write_text(document(tables), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    for _ in range(2):  # the second run knows the labels
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "report.log").read_text(encoding="latin-1")
    for complaint in ("Float too large", "Overfull", "undefined", "multiply defined", "Missing character"):
        assert complaint not in log


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
        assert typesetting_of([block(columns=columns)]) == Typesetting(size, page)


def test_one_wide_block_sets_the_type_of_all():
    assert typesetting_of([block(columns=4), block(columns=15)]).sideways


def test_long_headers_are_broken_but_no_word_is():
    lines = header_lines(Column("k", "DTQL with KL regulariser (DQL_KL) measured", "measured"))
    assert " ".join(lines) == "DTQL with KL regulariser (DQL_KL) measured"
    assert max(map(len, lines)) <= 13


def test_rows_fill_pages_and_none_is_lost():
    pages = spread([block(rows=150), block(rows=7)], Typesetting(SMALL, PORTRAIT), "short")
    sizes = [[len(part.rows) for part in page] for page in pages]
    assert sum(sum(page) for page in sizes) == 157
    assert len(pages) == 3
    # A line of \\small takes 11 points, a page has 700.
    assert all(11 * sum(page) <= 700 for page in sizes)


def test_notes_that_do_not_fit_below_stand_on_a_page_of_their_own():
    setting = Typesetting(SMALL, PORTRAIT)
    assert len(spread([block(rows=50)], setting, "short")) == 1
    pages = spread([block(rows=50)], setting, "word " * 2000)
    assert [len(page) for page in pages] == [1, 0]
