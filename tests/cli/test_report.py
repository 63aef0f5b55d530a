"""`bench report` as typed by a person."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from bench.catalog import load_catalog
from bench.cli import main
from bench.data.collect import collect
from bench.data.folder import dataset_path
from bench.data.info import summarise
from bench.data.verify import dataset_record
from bench.store.database import open_store
from bench.store.writer import Writer
from tests.bandit2d.clouds import corner_clouds, diffusion_clouds, store_trial, toy_run
from tests.report.made_up import write_nights
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


def test_nights_have_a_page_beside_the_reports_page(store, folder, capsys):
    with open_store(folder / "results" / "bench.sqlite") as opened, Writer(opened) as writer:
        write_nights(writer, 3)
    assert _bench("--format", "html") == 0
    assert capsys.readouterr().out == "Wrote results/report.html\nWrote results/nights.html\n"
    assert '<a href="nights.html">All nights</a>' in (folder / "results" / "report.html").read_text()
    page = (folder / "results" / "nights.html").read_text()
    assert '<a href="report.html">The report</a>' in page
    assert "3 nights: " in page


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


def test_latex_is_cut_to_what_goes_into_a_paper(store, folder, capsys):
    chosen = ("--columns", "own", "--marks", "none", "--text-width", "5.5", "--legend", "legend.tex")
    assert _bench("--format", "latex", "--tables", "dtql-1", *chosen) == 0
    captured = capsys.readouterr()
    assert "42.0" in captured.out
    assert "SRPO" not in captured.out.partition(r"\end{table")[0]
    assert "rlap" not in captured.out
    assert "Wrote legend.tex" in captured.err
    assert (folder / "legend.tex").read_text().count(r"\paragraph{Table~\ref{tab:dtql-1}.}") == 1


@pytest.mark.parametrize("format_", ["terminal", "markdown", "latex", "csv", "json"])
def test_columns_are_chosen_in_every_format(store, folder, capsys, format_):
    shown = {}
    for choice in ("own", "measured", "all"):
        assert _bench("--format", format_, "--tables", "dtql-1,srpo-1", "--full", "--columns", choice) == 0
        shown[choice] = capsys.readouterr().out
    assert ["IDQL" in text for text in shown.values()] == [False, True, True]
    assert all("42.0" in text for text in shown.values())
    counts = {choice: text.count("measured") for choice, text in shown.items()}
    assert counts["all"] > counts["measured"]  # nothing of SRPO was measured


def test_the_page_goes_beside_the_results(store, folder, capsys):
    assert _bench("--format", "html") == 0
    assert "<svg" in (folder / "results" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "htlm"), ("unknown format 'htlm'", "Did you mean html?")),
        (("--tables", "dtql-l"), ("unknown table 'dtql-l'", "Did you mean")),
        (
            ("--marks", "none"),
            ("nothing can be said of LaTeX for the format markdown", "Add --format latex"),
        ),
        (("--format", "figures", "--legend", "x"), ("nothing can be said of LaTeX for the format figures",)),
        (("--format", "latex", "--marks", "some"), ("unknown marks 'some'", "all, none")),
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


# With something measured on the 2D problems.


@pytest.fixture(scope="module")
def results_2d(tmp_path_factory):
    """A folder with a store and the illustrations that it names. Not to be changed."""
    results = tmp_path_factory.mktemp("2d") / "results"
    with open_store(results / "bench.sqlite") as opened, Writer(opened) as writer:
        writer.begin_run(toy_run())
        store_trial(writer, results, "dtql", "bandit-25gaussians-far", corner_clouds())
        numbers = {"energy_distance_to_truth": 0.01, "behaviour_energy_distance_to_truth": 0.3}
        store_trial(writer, results, "bdpo", "bandit-energy-8gaussians", diffusion_clouds(), metrics=numbers)
    return results


@pytest.fixture
def folder_2d(folder, results_2d):
    shutil.copytree(results_2d, folder / "results")
    return folder


def test_the_page_holds_the_figures_and_the_numbers(folder_2d):
    assert _bench("--format", "html", "--tables", "bandit2d") == 0
    page = (folder_2d / "results" / "report.html").read_text()
    assert 'id="bdpo-fig11"' in page
    assert "BDPO Fig. 11." in page
    assert "policy 0.010, behaviour 0.300" in page
    assert 'id="dtql-fig1"' not in page


def test_all_tables_hold_the_2d_problems_where_something_is_measured(folder_2d, capsys):
    assert _bench("--format", "json") == 0
    assert "bandit2d" in [table["id"] for table in json.loads(capsys.readouterr().out)["tables"]]


@pytest.mark.parametrize("format_", ["png", "svg", "pdf"])
def test_figures_go_to_files_and_the_report_stays_clean(folder_2d, capsys, format_):
    asked = ("--figures", "dtql-fig3,dtql-fig1", "--figure-format", format_)
    assert _bench("--tables", "bandit2d", "--format", "json", *asked, "--out", "made") == 0
    assert {path.name for path in (folder_2d / "made").iterdir()} == {"report.json", f"dtql-fig3.{format_}"}
    said = capsys.readouterr().err
    assert f"Wrote made/dtql-fig3.{format_}. One seed of each cell (trial 1), at budget 0.1, reduced" in said
    assert "dtql-fig1: nothing measured yet. bench run --algos dtql --tasks bandit-25gaussians-same" in said


def test_a_damaged_file_is_told_and_the_rest_is_shown(folder_2d, capsys):
    (damaged,) = (folder_2d / "results" / "weights").glob("dtql-*")
    damaged.write_bytes(b"nothing")
    assert _bench("--tables", "bandit2d") == 0
    out = capsys.readouterr().out
    assert "The figures of trial 1 are left out" in out
    assert "bandit-energy-8gaussians" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--figures", "dtql-fig33"), ("unknown figure 'dtql-fig33'", "Did you mean dtql-fig3")),
        (("--figures", "all", "--figure-format", "gif"), ("unknown figure format 'gif'", "pdf, png, svg")),
        (("--figures", "dtql-fig3", "--out", "a-file/x"), ("cannot write", "--out DIR")),
    ],
)
def test_wrong_requests_for_figures_say_what_to_type(folder_2d, capsys, arguments, said):
    (folder_2d / "a-file").write_text("")
    assert _bench(*arguments) == 2
    err = capsys.readouterr().err
    assert all(text in err for text in said)


def test_all_charts_go_to_files_for_papers(folder_2d, capsys):
    assert _bench("--format", "figures", "--out", "made") == 0
    names = {path.name for path in (folder_2d / "made").iterdir()}
    of_2d = {"dtql-fig3", "dtql-fig6", "bdpo-fig4", "bdpo-fig5", "bdpo-fig11", "policies"}
    assert names == {f"{name}.pdf" for name in {"curves-bandit2d", *of_2d}} | {"figures.tex"}
    output = capsys.readouterr()
    assert output.out == ""
    assert "Wrote made/curves-bandit2d.pdf" in output.err
    assert "Nothing measured yet for score-time, score-latency, profiles, dtql-fig1" in output.err
    floats = (folder_2d / "made" / "figures.tex").read_text()
    assert "\\includegraphics[width=\\linewidth]{curves-bandit2d.pdf}" in floats
    assert "$\\dagger$ Below the preset" in floats
    assert floats.isascii()
    assert "?" not in floats


def test_charts_are_asked_for_by_name_beside_a_report(folder_2d, capsys):
    asked = ("--figures", "learning-curves,profiles", "--figure-format", "svg")
    assert _bench("--tables", "bandit2d", "--format", "json", *asked, "--out", "made") == 0
    assert {path.name for path in (folder_2d / "made").iterdir()} == {"report.json", "curves-bandit2d.svg"}
    assert "profiles: nothing measured yet. bench run --suite SUITE" in capsys.readouterr().err


def test_figures_of_an_empty_store_say_how_to_fill_it(folder_2d, capsys):
    (folder_2d / "results" / "bench.sqlite").rename(folder_2d / "elsewhere.sqlite")
    assert _bench("--format", "figures") == 0
    assert "bench run --suite quickstart" in capsys.readouterr().err


def test_names_of_charts_have_a_nearest_one(folder_2d, capsys):
    assert _bench("--format", "figures", "--figures", "learning-curve") == 2
    assert "Did you mean learning-curves" in capsys.readouterr().err


def test_a_part_is_shown_in_every_format(store, capsys):
    asked = ("--suite", "d4rl-locomotion", "--tasks", "hopper-medium-v2", "--algos", "dtql")
    assert _bench(*asked, "--format", "json", "--tables", "dtql-1") == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert {row["label"] for block in table["blocks"] for row in block["rows"]} >= {"hopper-medium-v2"}
    methods = {column["method"] for block in table["blocks"] for column in block["columns"]}
    assert methods == {"", "DTQL"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--algos", "dtpl"), "Did you mean dtql"),
        (("--suite", "quickstrat"), "Did you mean quickstart"),
        (("--tasks", "bandit-energy-moons", "--tables", "dtql-1"), "no table has a row"),
        (("--format", "terminal", "--out", "made"), "--format markdown"),
    ],
)
def test_a_part_that_there_is_not_is_told(store, capsys, arguments, said):
    assert _bench(*arguments) == 2
    assert said in capsys.readouterr().err


def test_for_people_the_verdicts_come_first_and_brackets_are_as_they_are(store, capsys):
    assert _bench("--format", "terminal", "--tables", "dtql-1") == 0
    out = capsys.readouterr().out
    assert out.startswith("Verdicts: † 1 not comparable.")
    assert "42.0 †[a]" in out


def test_the_environment_names_the_store(store, folder, capsys, monkeypatch):
    (folder / "results" / "bench.sqlite").rename(folder / "mine.sqlite")
    monkeypatch.setenv("BENCH_STORE", str(folder / "mine.sqlite"))
    assert _bench("--tables", "dtql-1") == 0
    assert "42.0" in capsys.readouterr().out


def test_a_summary_knows_the_datas_own_score_while_the_file_is_the_trials(folder, monkeypatch, capsys):
    monkeypatch.setenv("BENCH_DATA_DIR", str(folder / "data"))
    catalog = load_catalog()
    task = catalog.task("collected-hopper-quickstart")
    path = dataset_path(task)
    collect(task, path, transitions=500)
    own = dataset_record(task, path)
    with open_store(folder / "results" / "bench.sqlite") as opened, Writer(opened) as writer:
        writer.begin_run(run_record())
        for seed, score in enumerate((20.0, 21.0, 22.0)):
            trial = trial_record(seed, task=task.name)
            trial = replace(trial, dataset=own)
            writer.plan([trial])
            writer.claim(trial.key.cell, {seed}, 1)
            writer.record(finished_record(trial.key, score))
    assert _bench("--format", "summary") == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.startswith(
        f"{task.name}: the data's own score is {summarise(path, task).mean_score:.1f} ("
    )
    assert line.startswith("  dtql: 21.0, 95 % interval 18.5 to 23.5 (3 seeds), ")
    path.unlink()
    assert _bench("--format", "summary") == 0
    assert "the data's own score is not known here" in capsys.readouterr().out
