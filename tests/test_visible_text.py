"""Text of others is shown, never obeyed, and never at absurd length; CSV holds no text that would be run."""

import csv
import io
import json

import pytest

from bench.errors import BenchError, unknown_name
from bench.visible_text import (
    SPELLED_OUT,
    csv_text,
    quoted,
    register_spelling,
    shortened,
    visible,
    visible_json,
    visible_line,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\rb", r"a\x0db"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("a\u202eb\u2066\u200b", r"a\u202eb\u2066\u200b"),
        ("\udce9", r"\udce9"),
        ("\U000e0041", r"\U000e0041"),
        ("two\nlines\tü ± 漢 é", "two\nlines\tü ± 漢 é"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert visible(text) == shown


def test_a_line_stays_one_line():
    assert visible_line("a\nb\r\nc\td\x0b") == r"a b c d\x0b"


@pytest.mark.parametrize("text", ["\x9b[\x7f", "\u202e", "\U000e0041", "\x1b\n"])
def test_a_json_document_means_the_same(text):
    document = json.dumps({text: [text]}, ensure_ascii=False, indent=1)
    assert json.loads(visible_json(document)) == {text: [text]}
    assert visible(visible_json(document)) == visible_json(document)


def test_what_an_output_cannot_hold_is_spelled():
    register_spelling()
    assert "1 ± 2 ≠ β … 漢".encode("ascii", SPELLED_OUT) == rb"1 +/- 2 != beta ... \u6f22"
    assert "± ≠".encode("latin-1", SPELLED_OUT) == b"\xb1 !="


@pytest.mark.parametrize("value", ["x" * 100_000, ["x" * 50] * 1000, "\x1b" * 100_000, 10**4000])
def test_a_quoted_value_has_a_sensible_length(value):
    assert len(quoted(value)) < 250


def test_a_shortened_text_shows_both_ends_and_how_much_is_left_out():
    assert shortened("a" * 80 + "b" * 80, 100) == "a" * 75 + " ... (60 characters left out) ... " + "b" * 25
    assert shortened("a" * 100, 100) == "a" * 100


def test_errors_are_cut_line_by_line():
    error = BenchError("w" * 100_000, "y" * 100_000, "\n".join(["fine"] * 50))
    assert max(map(len, str(error).splitlines())) < 1100
    assert str(error).count("fine") == 50
    assert len(str(unknown_name("task", "x" * 100_000, ["hopper"], "bench list tasks"))) < 300


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
