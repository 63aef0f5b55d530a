"""Whatever a store or a person holds, a command's output is whole, readable, and does nothing by itself."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.cells import cell_len
from typer import core

from bench.cli.output import aligned, print_table, progress_text, readable_output
from bench.records import StackProgress
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples

ODD = "\x1b[2J\x1b]0;owned\x07\u202egnp.\x9b31m"
COMMAND = [sys.executable, "-m", "bench"]


@pytest.fixture
def odd_store(tmp_path, monkeypatch):
    """A store of which many texts are hostile."""
    monkeypatch.chdir(tmp_path)
    trial = samples.trial_record(task=f"hopper{ODD}|x\ny")
    failure = samples.failure_record(trial.key)
    with open_store(tmp_path / "bench.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record(command=f"bench run --tasks 'a{ODD}'; rm -rf ~ $(x)"))
        writer.plan([trial])
        writer.claim(trial.key.cell, {0}, 1)
        writer.record(replace(failure, message=f"=cmd {ODD}", traceback=f"Traceback {ODD}"))
    return tmp_path / "bench.sqlite"


READING = [
    ("status",),
    ("explain", "1"),
    ("status", "--format", "json"),
    ("explain", "1", "--format", "json"),
    ("query", "SELECT * FROM trials, runs, failures"),
    ("report", "--tables", "dtql-1"),
    ("report", "--format", "json"),
    ("report", "--format", "latex"),
    ("check", "--all"),
    ("check", "--format", "json"),
    ("db", "info"),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_nothing_that_a_store_holds_acts_on_the_terminal(bench, odd_store, command):
    code, out, err = bench(*command, "--store", odd_store)
    assert code in (0, 1), err
    assert not set("\x1b\x07\x9b\u202e\r") & set(out + err)
    if "json" in command:
        json.loads(out)


def test_a_pages_text_holds_no_control_characters(bench, odd_store):
    bench("report", "--format", "html", "--out", odd_store.parent, "--store", odd_store)
    assert not set("\x1b\x07\x9b\u202e") & set((odd_store.parent / "report.html").read_text())


def test_a_stored_command_is_offered_so_that_a_shell_does_nothing_else(bench, odd_store):
    _, out, _ = bench("status", "--store", odd_store)
    assert "bench run --tasks 'a\\x1b[2J" in out
    assert "';' rm -rf '~' '$(x)' --retry failed" in out.replace("'a\\x1b", "").replace("31m;'", "31m' ';'")


@pytest.mark.parametrize("command", ["rm -rf ~", "bench 'run", "", "; bench run"])
def test_a_stored_command_that_is_none_of_bench_is_not_offered(bench, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with open_store("bench.sqlite") as store, Writer(store) as writer:
        writer.begin_run(samples.run_record(command=command))
        writer.plan([samples.trial_record()])
    _, out, _ = bench("status", "--store", "bench.sqlite")
    assert "which is no command of bench" in out.splitlines()[-1]


@pytest.mark.parametrize("arguments", [("list", f"task{ODD}"), (f"--{ODD}",), ("show", ODD, ODD)])
def test_what_a_person_types_is_shown_and_not_obeyed(bench, arguments):
    code, out, err = bench(*arguments)
    assert code == 2
    assert not set("\x1b\x07\x9b\u202e") & set(out + err)


def test_csv_for_a_program_is_exact_but_for_formulas(bench, odd_store):
    query = "SELECT task, '=1+1' AS a, -0.5 AS b, '-0.5' AS c FROM trials"
    _, out, _ = bench("query", query, "--format", "csv", "--store", odd_store)
    assert next(iter(csv.DictReader(out.splitlines(keepends=True)))) == {
        "task": f"hopper{ODD}|x\ny", "a": "'=1+1", "b": "-0.5", "c": "-0.5",
    }  # fmt: skip


def test_columns_stay_aligned_whatever_is_in_them(capsys):
    rows = [("漢字", "x"), ("e\u0301\u0301", "x"), ("a\tb\nc", "x"), ("\x1b[0m", "x"), ("±", "x")]
    lines = aligned(("name", "value"), rows)
    assert {cell_len(line[: line.rindex("x")]) for line in lines[1:]} == {cell_len("\\x1b[0m") + 2}
    with readable_output():
        print_table(("name", "value"), rows)
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(rows)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_an_output_that_lacks_characters_holds_the_whole_table(encoding):
    made = subprocess.run(
        [*COMMAND, "show", "dtql", "hopper-medium-v2"],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    lines = made.stdout.decode(encoding).splitlines()
    assert lines[-1].startswith("!= the variants differ")
    # The mark is spelled with two characters, and the columns know.
    heading = next(line for line in lines if line.startswith("name "))
    marked = next(line for line in lines if " != " in line)
    plain = next(line for line in lines if line.startswith("batch_size"))
    assert heading.index("unit; ") == plain.index("transitions ") == marked.index(" != ") + len(" !=  ")


def test_a_terminal_without_utf8_finds_a_store_of_any_name(tmp_path):
    name = "ünï.sqlite"
    with open_store(tmp_path / name) as store, Writer(store) as writer:
        writer.begin_run(samples.run_record())
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    made = subprocess.run(
        [*COMMAND, "query", "SELECT 1 AS one", "--store", tmp_path / name],
        capture_output=True, text=True, check=False, env={**os.environ, **plain},
    )  # fmt: skip
    assert (made.returncode, made.stdout.split(), made.stderr) == (0, ["one", "1"], "")
    made = subprocess.run(
        [*COMMAND, "query", "SELECT 'ü'", "--store", tmp_path / name],
        capture_output=True, text=True, check=False, env={**os.environ, **plain},
    )  # fmt: skip
    assert made.returncode == 2
    assert "PYTHONUTF8=1" in made.stderr
    assert "Traceback" not in made.stderr


def test_a_pipe_that_nobody_reads_is_no_failure_of_the_command():
    shell = f"{sys.executable} -m bench list tasks | true; echo ${{PIPESTATUS[0]}}"
    made = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert made.stdout.split()[-1] in ("0", "141")  # 0 where all fitted into the pipe before it was closed
    assert made.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_change_nothing_else(closed):
    made = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bench list suites {closed}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0
    assert made.stderr == ""


@pytest.mark.parametrize(
    ("command", "work"),
    [
        (("query", "SELECT 1"), "query.open_store"),
        (("db", "info"), "db.open_store"),
        (("data", "list"), "data.load_catalog"),
        (("list", "tasks"), "listing.load_catalog"),
    ],
)
def test_a_command_that_is_interrupted_in_its_midst_says_so(bench, monkeypatch, odd_store, command, work):
    def pressed(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"bench.cli.{work}", pressed)
    code, _, err = bench(*command)
    assert (code, err.partition(".")[0]) == (130, "Interrupted")


@pytest.mark.parametrize("moment", ["make_context", "invoke"])
def test_a_command_that_is_interrupted_before_its_work_begins_says_so(bench, monkeypatch, moment):
    """Typer answers with an exit code and not a word."""

    def pressed(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(core.TyperGroup, moment, pressed)
    code, _, err = bench("list", "tasks")
    assert (code, err) == (130, "Interrupted. What had finished is stored; the same command continues.\n")


def test_a_package_that_hides_the_methods_is_named(tmp_path):
    hiding = tmp_path / "algorithms"
    hiding.mkdir()
    (hiding / "__init__.py").write_text("")
    made = subprocess.run(
        [*COMMAND, "show", "bc", "hopper-medium-v2"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )  # fmt: skip
    assert made.returncode == 2
    assert str(hiding) in made.stderr


@pytest.mark.parametrize(
    ("done", "rate", "text"),
    [
        (0, 0.0, "train 0/5,000 iterations"),
        (1, 1.6, "train 1/5,000 iterations"),  # of a second and less there is nothing to be told
        (12, 0.5, "train 12/5,000 iterations, 0.5 it/s, 0:50:00 to go"),
        (1_000, 50.0, "train 1,000/5,000 iterations, 50 it/s, 0:50:00 to go"),
    ],
)
def test_no_time_is_promised_by_the_first_iteration(done, rate, text):
    assert progress_text(StackProgress("train", done, 5_000, rate, 3_000.0)) == text
