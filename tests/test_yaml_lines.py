"""Mistakes in YAML are named with file, line and key."""

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError
from bench.yaml_lines import load_yaml, plain_value, validated


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    horizon: int
    colour: str = "red"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    things: dict[str, Inner]
    names: list[int] = []


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "things.yaml"
        path.write_text(text)
        return path

    return write


def message(call):
    with pytest.raises(BenchError) as caught:
        call()
    return str(caught.value)


def test_values_and_lines(written):
    document = load_yaml(written("things:\n  first:\n    horizon: 5\nnames:\n  - 1\n  - 2\n"))
    assert document.content == {"things": {"first": {"horizon": 5}}, "names": [1, 2]}
    assert document.lines["things", "first", "horizon"] == 3
    assert document.lines["names", 1] == 6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 0.0003), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("7", 7), ("1_000", 1000), ("1__0", 10),
        ("1_", 1), ("1_.5", 1.5), (".5_", 0.5), ("1_e5", 1e5), ("_1", "_1"),
    ],
)  # fmt: skip
def test_numbers_are_numbers(written, text, value):
    loaded = load_yaml(written(f"x: {text}\n")).content["x"]
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "things:\n  first:\n    horizont: 5\n",
            3,
            "things.first.horizont: unknown key; did you mean horizon?",
        ),
        ("things:\n  first:\n    horizon: 5\n    color: x\n", 4, "did you mean colour?"),
        ("things:\n  first:\n    horizon: 5\n    zzz: x\n", 4, "known are colour, horizon"),
        ("things:\n  first:\n    horizon: many\n", 3, "(given: 'many')"),
        ("things:\n  first:\n    colour: x\n", 2, "things.first.horizon: Field required"),
        ("things: {}\nnames:\n  - 1\n  - two\n", 4, "names.1"),
        ("things: {}\nthing: {}\n", 2, "did you mean things?"),
    ],
)
def test_wrong_content_is_named_with_its_line(written, text, line, told):
    document = load_yaml(written(text))
    said = message(lambda: validated(Outer, document))
    assert said.startswith(f"things.yaml line {line}: ")
    assert told in said


def test_duplicate_keys_are_errors(written):
    path = written("things:\n  first:\n    horizon: 5\n  second: {horizon: 1}\n  first:\n    horizon: 6\n")
    assert message(lambda: load_yaml(path)) == (
        "things.yaml line 5: things.first: given twice\nFirst given on line 2."
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1, 2\nb: 3\n", "line 2: not valid YAML"),
        ("a: !!python/object/apply:os.system [true]\n", "line 1: not valid YAML"),
        ("[1, 2]: x\n", "a key must be a plain name"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(written, text, told):
    path = written(text)
    assert told in message(lambda: load_yaml(path))


DEEP = "[" * 5000 + "]" * 5000
LAUGHS = "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a: 1\nb: !!timestamp x\n", 2, "tag 'tag:yaml.org,2002:timestamp'"),
        ("a: !!binary '*'\n", 1, "binary"),
        ("a: !!int x\n", 1, "int"),
        ("a: !!bool maybe\n", 1, "bool"),
        ("a: !!set {x}\n", 1, "set"),
        ("a: !own {x: 1}\n", 1, "'!own'"),
        (LAUGHS, 2, "alias '*a'"),
        ("a: &a [*a]\n", 1, "alias '*a'"),
        ("a: &a {x: 1}\nb: {<<: *a}\n", 2, "alias '*a'"),
        (DEEP, 1, ""),
        ("a:\n  " + "- " * 500 + "x\n", 2, "levels deep"),
        ("{a: " * 90 + "1" + "}" * 90, 1, "levels deep"),
        ("a: 1\n--- \nb: 2\n", 2, "second document"),
        ("a: 1\nb: \0\n", 2, "'\\x00'"),
        ("a: 1\nb: \x1b[2J\n", 2, "'\\x1b'"),
        ("a: 1\nb: " + "9" * 100_000 + "\n", 2, "b: '999"),
        ("a: .nan\n", 1, "a: '.nan' is no finite number"),
        ("a: [1, -.inf]\n", 1, "a.1: '-.inf' is no finite number"),
        ("a: 1e400\n", 1, "no finite number"),
        ("a: 1:30\n", 1, "a: '1:30' may be read in two ways"),
        ("a: 010\n", 1, "two ways"),
        ("a: 0x10\n", 1, "two ways"),
        ("a: *" + "x" * 100_000 + "\n", 1, "alias"),
        ("x" * 1000 + ": {a: 1, a: 2}\n", 1, "given twice"),
        ("- x\n" * 60_000, None, "more than 50,000 entries"),
        ("a: %\n", 1, "not valid YAML"),
        ("a: 'x\n", None, "not valid YAML"),
    ],
)
def test_what_a_file_cannot_mean_here_is_a_short_sentence_with_its_line(written, text, line, told):
    said = message(lambda: load_yaml(written(text)))
    assert said.startswith("things.yaml line " if line is None else f"things.yaml line {line}: "), said
    assert told in said
    assert len(said) < 600


def test_dates_and_words_as_keys_are_text_as_written(written):
    text = "a: 2024-99-99\nyes: 1\nnull: on\n1: '010'\n<<: {a: ~}\n"
    content = {"a": "2024-99-99", "yes": 1, "null": True, "1": "010", "<<": {"a": None}}
    assert load_yaml(written(text)).content == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: \xff\n", "line 1: not UTF-8"),
        ("a: 1\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"a: 1\nb: \xc3\n", "line 2: not UTF-8"),
        (b"#" * 1_000_001, "larger than 1,000 kB"),
    ],
)
def test_bytes_that_are_no_text_are_told(tmp_path, content, told):
    path = tmp_path / "things.yaml"
    path.write_bytes(content)
    assert told in message(lambda: load_yaml(path))


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "things.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path).content == {"a": 1}


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long name"])
def test_what_is_no_file_is_refused_without_being_read(tmp_path, kind):
    path = {"device": Path("/dev/zero"), "long name": tmp_path / ("x" * 5000)}.get(
        kind, tmp_path / "things.yaml"
    )
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    assert message(lambda: load_yaml(path)).startswith("cannot read '")


def test_a_wrong_value_is_quoted_at_a_sensible_length(written):
    document = load_yaml(written(f"things: {{}}\nnames: [{'x' * 50_000}]\n{'y' * 1000}: 1\n"))
    assert len(message(lambda: validated(Outer, document))) < 1000


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1e-3", 1e-3), ("true", True), ("'12'", "12"), ("released", "released"), ("", None)],
)
def test_a_plain_value_reads_as_in_a_file(text, value):
    assert plain_value(text) == value
    assert type(plain_value(text)) is type(value)


@pytest.mark.parametrize("text", ["[1]", "{a: 1}", "*a", "!!int x", ".nan", "9" * 5000, "a: b", "[" * 9999])
def test_what_is_no_plain_value_is_refused(text):
    assert len(message(lambda: plain_value(text))) < 600


def test_a_missing_file_is_named(tmp_path):
    assert "cannot read" in message(lambda: load_yaml(tmp_path / "none.yaml"))


def test_an_empty_file_is_no_model(written):
    document = load_yaml(written(""))
    assert "things.yaml line 1" in message(lambda: validated(Outer, document))
