"""Mistakes in YAML are named with file, line and key."""

import pytest
from pydantic import BaseModel, ConfigDict

from bench.errors import BenchError
from bench.yaml_lines import load_yaml, validated


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


@pytest.mark.parametrize(("text", "value"), [("3e-4", 0.0003), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("7", 7)])
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


def test_a_missing_file_is_named(tmp_path):
    assert "cannot read" in message(lambda: load_yaml(tmp_path / "none.yaml"))


def test_an_empty_file_is_no_model(written):
    document = load_yaml(written(""))
    assert "things.yaml line 1" in message(lambda: validated(Outer, document))
