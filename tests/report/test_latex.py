"""LaTeX: golden text, escaping, and a real pdflatex where there is one."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from bench.report.build import build_table
from bench.report.formats.latex import document, escape, render
from bench.report.measured import ReportData
from tests.report.builders import check_golden, measured, toy_table
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
