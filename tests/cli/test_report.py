"""`bench report` as typed by a person."""

import json
import re
import subprocess
import sys

import pytest

from bench.cli import main
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store.samples import evaluation_record, finished_record, run_record, trial_record


def _bench(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    return stop.value.code


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(folder):
    with open_store(folder / "results" / "bench.sqlite") as opened, Writer(opened) as writer:
        writer.begin_run(run_record())
        trial = trial_record(0)
        writer.plan([trial])
        writer.claim(trial.key.cell, {trial.key.seed}, 1)
        writer.record(evaluation_record(trial.key))
        writer.record(finished_record(trial.key, 42.0))


def test_markdown_shows_the_measured_row_and_says_what_it_leaves_out(store, capsys):
    assert _bench() == 0
    out = capsys.readouterr().out
    assert "42.0 †[a]" in out
    assert re.search(r"Throughout: .*physics d4rl.*, n = 1\.", out)
    assert "walker2d-medium-v2" not in out
    assert "--full" in out


def test_full_markdown_shows_the_papers_table(store, capsys):
    assert _bench("--full", "--tables", "dtql-1") == 0
    out = capsys.readouterr().out
    assert "kitchen-mixed-v0" in out
    assert "Onestep RL" in out
    assert "Training epochs" not in out


def test_an_empty_store_gives_the_printed_table_and_what_to_type(capsys):
    assert _bench("--format", "json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["tables"][0]["measured"] == 0
    assert "bench run --suite quickstart" in captured.err


@pytest.mark.parametrize(
    ("format_", "names"),
    [
        ("markdown", {"report.md"}),
        ("latex", {"tables.tex", "report.tex"}),
        ("html", {"report.html"}),
        ("csv", {"report.csv"}),
        ("json", {"report.json"}),
    ],
)
def test_out_writes_whole_files_and_says_where(store, folder, capsys, format_, names):
    assert _bench("--format", format_, "--out", "made") == 0
    assert {path.name for path in (folder / "made").iterdir()} == names
    out = capsys.readouterr().out
    assert all(f"Wrote made/{name}" in out for name in names)


def test_the_page_goes_beside_the_results(store, folder, capsys):
    assert _bench("--format", "html") == 0
    assert "<svg" in (folder / "results" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "htlm"), ("unknown format 'htlm'", "Did you mean html?")),
        (("--tables", "dtql-l"), ("unknown table 'dtql-l'", "Did you mean")),
        (("--tables", ","), ("no table named in ','", "dtql-1, dtql-2")),
        (("--store", "absent.sqlite"), ("no results database at 'absent.sqlite'",)),
        (("--format", "json", "--out", "a-file/x"), ("cannot write", "--out DIR")),
    ],
)
def test_wrong_requests_say_what_to_type(folder, capsys, arguments, said):
    (folder / "a-file").write_text("")
    assert _bench(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(text in captured.err for text in said)


def test_no_torch_and_no_ray():
    code = (
        "import sys\nfrom bench.cli import main\n"
        "try:\n    main(['report', '--format', 'html'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'torch', 'ray', 'mujoco'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
