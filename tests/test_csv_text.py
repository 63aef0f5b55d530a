"""CSV holds numbers as they are, and no text that a spreadsheet would run."""

import csv
import io

import pytest

from bench.csv_text import csv_text


def test_numbers_are_whole_and_nothing_is_nothing():
    text = csv_text(("a", "b", "c"), [(-0.1234567890123456789, None, -(10**17))])
    assert text == f"a,b,c\n{-0.1234567890123456789!r},,-100000000000000000\n"


@pytest.mark.parametrize(
    "cell",
    ["=1+1", '=HYPERLINK("http://x")', "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "-"],
)
def test_a_text_that_would_be_run_is_marked_as_text(cell):
    text = csv_text((cell,), [(cell,)])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [[f"'{cell}"], [f"'{cell}"]]


@pytest.mark.parametrize("cell", ["-0.8", "+3", "-1e-05", "-0.8 ± 0.1", "-1,234.5", "a=b", " =1", "1-2"])
def test_numbers_as_text_and_plain_texts_stay(cell):
    assert list(csv.reader(io.StringIO(csv_text((), [(cell,)])))) == [[], [cell]]
