"""LaTeX: golden text, escaping, and a real pdflatex where there is one."""

import shutil
import subprocess

import pytest

from bench.report.layouts import LAYOUTS, build_table
from bench.report.renderers.latex import document, escape, render
from tests.report.builders import check_golden, toy_data, toy_table


def test_golden():
    check_golden("table.tex", render([toy_table()]))


def test_every_special_character_is_escaped():
    assert escape("a_b&c%d$e#f{g}h~i^j\\k") == (
        r"a\_b\&c\%d\$e\#f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k"
    )
    assert escape("1 ± 2 † <x>") == r"1 $\pm$ 2 $\dagger$ \textless{}x\textgreater{}"
    assert escape("--full\nok") == "-{}-full ok"
    assert escape("漢") == "?"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (make system-deps)")
def test_the_document_compiles(tmp_path):
    tables = [toy_table(), *(build_table(name, toy_data()) for name in LAYOUTS)]
    (tmp_path / "report.tex").write_text(document(tables), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert "Overfull" not in done.stdout
