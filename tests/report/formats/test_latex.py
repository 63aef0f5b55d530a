"""LaTeX as a paper takes it: golden text, notes and marks, and a real pdflatex where there is one."""

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache

import pytest

from bench.report.formats.latex import PREAMBLE, TableStyle, document, render, render_charts, render_legend
from bench.report.measured import ReportData
from bench.report.shortening import own_columns
from tests.report.builders import build_table, check_golden, measured, toy_data, toy_table
from tests.report.filled import all_ids, filled_data, filled_judgement

UNMARKED = TableStyle(marked=False)


@cache
def filled(name):
    return build_table(name, filled_data(), filled_judgement())


def floats(text):
    return re.findall(r"\\begin\{table\*?\}.*?\\end\{table\*?\}", text, re.DOTALL)


def test_golden():
    check_golden("table.tex", render([toy_table()]))


def test_what_holds_throughout_takes_no_column():
    text = render([toy_table(measured(), measured("hopper-medium-v2", (1.0, 2.0, 3.0)))])
    assert "Budget" not in text
    assert "(n=3)" not in text
    assert "Throughout: budget 1, physics d4rl, task v. 1, n = 3." in text


def test_a_table_stands_upright_in_one_size_and_is_never_scaled():
    for text in floats(render([filled(name) for name in all_ids()])):
        assert text.startswith(("\\begin{table}[tp]", "\\begin{table*}[tp]"))
        assert "sideways" not in text
        assert "box" not in text
        assert set(re.findall(r"\\(?:small|scriptsize|footnotesize|tiny)", text)) == {r"\footnotesize"}
        assert "\\begin{tabular*}" in text


def test_what_fits_into_a_column_takes_one():
    assert render([own_columns(filled("dtql-3"))], UNMARKED).count(r"\begin{table}[tp]") == 1
    assert r"\begin{table*}" in render([filled("dtql-1")])
    # In a column of IEEE's text there is more room.
    srpo = own_columns(filled("srpo-1"))
    assert r"\begin{table*}" in render([srpo], UNMARKED)
    assert r"\begin{table}[tp]" in render([srpo], replace(UNMARKED, text_width=7.1))


def test_long_tables_are_continued():
    table = filled("dtql-7")
    rows = tuple(table.blocks[0].rows) * 6
    text = render([replace(table, blocks=(replace(table.blocks[0], rows=rows),))])
    assert text.count("(continued).") >= 1
    assert len(re.findall("^walker2d-medium-v2 &", text, re.MULTILINE)) == 6
    assert text.count(r"\label{") == 1
    assert text.count(r"\begin{tablenotes}") == 1


@pytest.mark.parametrize("style", [TableStyle(), UNMARKED, TableStyle(text_width=5.5)])
def test_notes_are_three_lines_at_most_and_everything_else_is_a_comment(style):
    for name in all_ids():
        table = filled(name)
        text = render([table], style)
        for one in floats(text):
            for notes in re.findall(r"\\item (.*)", one):
                share = re.search(r"\{([\d.]+)\\textwidth\}", one)
                points = float(share[1]) * style.text_points if share else style.column_points
                # A sign is a character, whatever it is called; one takes about 4 points.
                assert len(re.sub(r"\$\\?\w+\$|\\(?=%)|\{\}", "x", notes)) * 4 <= 3 * points + 40
        comments = " ".join(line[2:] for line in text.splitlines() if line.startswith("% "))
        for note in table.notes:
            assert " ".join(note.split()) in comments or note.startswith("Bold:")


def test_margins_are_stated_once_in_a_comment():
    text = render([filled(name) for name in ("dtql-1", "dtql-3", "srpo-1")])
    assert text.count("% Error rates: 5 %, 100 % stated.") == 1


def test_verdicts_and_misprints_hang_behind_their_numbers():
    text = render([filled("dtql-1")])
    for mark in (r"\approx", r"\downarrow", r"\uparrow", r"\circ", r"\dagger", r"\ast"):
        assert f"\\rlap{{\\,${mark}$}}" in text
    assert r"$\downarrow$~not reproduced, below; $\circ$~inconclusive" in text.replace(
        r" $\uparrow$~not reproduced, above;", ""
    )
    assert r"$\ast$~misprint, as printed." in text
    assert "% BC, Gym Average: as printed; should be 51.23. Recomputed from the printed rows." in text


def test_marks_can_be_left_out():
    text = render([filled("dtql-1")], TableStyle(marked=False))
    assert "rlap" not in text
    assert r"\circ" not in text
    assert "cells measured" not in text


def test_own_columns_are_the_papers_own_method_where_it_was_measured():
    (text,) = floats(render([own_columns(filled("dtql-1"))]))
    assert r"\multicolumn{2}{c}{DTQL (Ours)}" in text
    for other in ("SRPO", "IDQL", "BC", "textbf", "Bold"):
        assert other not in text
    combined = "".join(floats(render([own_columns(filled("combined"))], TableStyle(text_width=20.0))))
    assert all(name in combined for name in ("DTQL", "SRPO", r"EDP+TD3", "BDPO"))


def test_nothing_measured_leaves_no_empty_column():
    text = render([build_table("dtql-1", ReportData())])
    assert "measured &" not in text
    assert r"\multicolumn" not in text


def test_the_legend_says_what_every_mark_means_and_where():
    text = render_legend([filled("dtql-1"), filled("srpo-1")])
    assert text.count(r"\paragraph{Table~\ref{tab:") == 2
    assert r"\paragraph{Verdicts.} Margin: 5 points. Error rates: 5 \%, 100 \% stated." in text
    assert r"$\dagger$~not comparable" in text
    assert "BC measured, hopper-medium-v2: not comparable: printed number quoted from elsewhere." in text
    assert "BC, Gym Average: as printed; should be 51.23." in text


def test_charts_are_as_wide_as_their_column():
    from bench.report.figures import paper_charts

    charts = paper_charts(toy_data(), ["profiles", "learning-curves"])
    text = render_charts(charts, "pdf")
    assert text.count(r"\includegraphics[width=\linewidth]") == len(charts) > 0


# Compiled

PACKAGES = {"IEEEtran": "texlive-publishers", "threeparttable": "texlive-latex-extra"}


@cache
def has_tex(name):
    return subprocess.run(["kpsewhich", name], capture_output=True, check=False).returncode == 0


def compiled(folder, name):
    """The log of a document after its second run, which knows the labels."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    return (folder / name).with_suffix(".log").read_text(encoding="latin-1")


def assert_clean(log):
    for complaint in ("Float too large", "Overfull", "undefined", "multiply defined", "Missing character"):
        assert complaint not in log, log[log.index(complaint) - 200 :][:600]


pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (make system-deps)")


@pytest.mark.slow
@pdflatex
@pytest.mark.parametrize("kind", ["empty", "filled", "own", "without-threeparttable"])
def test_the_document_compiles_in_two_columns(tmp_path, kind):
    data, judgement = (ReportData(), None) if kind == "empty" else (filled_data(), filled_judgement())
    tables = [toy_table(), *(build_table(name, data, judgement) for name in all_ids())]
    text = document(list(map(own_columns, tables)), UNMARKED) if kind == "own" else document(tables)
    if kind == "without-threeparttable":
        text = text.replace("threeparttable.sty", "not-installed.sty")
    (tmp_path / "report.tex").write_text(text, encoding="utf-8")
    assert_clean(compiled(tmp_path, "report.tex"))


CLASSES = {
    "article": "\\documentclass[twocolumn]{article}",
    "IEEEtran": "\\documentclass[conference]{IEEEtran}",
}


@pytest.mark.slow
@pdflatex
@pytest.mark.parametrize("class_", CLASSES)
def test_every_table_goes_into_a_paper_of_two_columns(tmp_path, class_):
    if not has_tex(f"{class_}.cls"):
        pytest.skip(f"{class_}.cls is not installed ({PACKAGES[class_]}; make system-deps)")
    tables = [filled(name) for name in all_ids()]
    (tmp_path / "tables.tex").write_text(render(tables), encoding="utf-8")
    (tmp_path / "legend.tex").write_text(render_legend(tables), encoding="utf-8")
    inputs = "\\input{tables}\n\\input{legend}\n"
    text = f"{CLASSES[class_]}\n{PREAMBLE}\\begin{{document}}\n{inputs}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    assert_clean(compiled(tmp_path, "paper.tex"))


@pytest.mark.slow
@pdflatex
@pytest.mark.parametrize("kind", ["all", "own"])
def test_tables_fit_into_the_text_that_they_are_made_for(tmp_path, kind):
    shown = [own_columns(filled(name)) if kind == "own" else filled(name) for name in all_ids()]
    tables = render(shown, TableStyle(marked=kind == "all", text_width=5.5))
    class_ = "\\documentclass{article}\n\\usepackage[textwidth=5.5in,textheight=9in]{geometry}\n"
    text = f"{class_}{PREAMBLE}\\begin{{document}}\n{tables}\\end{{document}}\n"
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    assert_clean(compiled(tmp_path, "paper.tex"))


def test_the_default_width_is_that_of_the_narrowest_two_columns():
    # article on A4, in points; on letter paper it has 469, IEEE's class 516.
    assert TableStyle().text_points <= 452
