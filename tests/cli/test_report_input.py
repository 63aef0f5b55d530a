"""Reports and checks of odd stores, and of odd requests: correct output, or one message and exit code 2."""

import csv
import io
import json
import math
import os
import re
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree

import pytest

from bench.store.database import open_store
from bench.store.writer import Writer
from tests.store import samples

NAN, INF = math.nan, math.inf
TASKS = ("hopper-medium-v2", "walker2d-medium-v2")
AWKWARD = "a_b%$#&{}~^\\ <b>\"'|`*[x](y) {{7*7}}"
"""For LaTeX, HTML, Markdown and templates."""

NO_NUMBER = re.compile(
    r"(?<![\w/.-])[-+\u2212]?(nan|NaN|inf|Infinity|undefined)(?!\w)|[|>&,] *(None|null) *[|<&,]"
)
FORMATS = ("markdown", "latex", "html", "csv", "json")


def trial(seed=0, task=TASKS[0], variant="released", method="dtql"):
    """What a paper's number may be held against."""
    made = samples.trial_record(seed, task)
    dataset = samples.verified_dataset(task)
    key = replace(made.key, algorithm=method, variant=variant)
    return replace(made, key=key, dataset=dataset, budget=1.0, episodes=10, reduced=())


def run(writer, one, *evaluations):
    """A trial with these episodes' scores in its evaluations; the last of them is its score."""
    writer.plan([one])
    writer.claim(one.key.cell, {one.key.seed}, 1)
    for number, scores in enumerate(evaluations, start=1):
        record = samples.evaluation_record(one.key, number, scores)
        writer.record(replace(record, scores=scores))
    last = sum(evaluations[-1]) / len(evaluations[-1]) if evaluations else None
    writer.record(samples.finished_record(one.key, last))


def fail(writer, one, message="the loss diverged"):
    """A trial that failed."""
    writer.plan([one])
    writer.claim(one.key.cell, {one.key.seed}, 1)
    writer.record(replace(samples.failure_record(one.key), message=message))


def no_score_at_all(writer):
    for seed in range(3):
        run(writer, trial(seed), (NAN, NAN), (NAN, NAN))
        run(writer, trial(seed, TASKS[1]), (NAN, 50.0))


def infinite(writer):
    for seed in range(3):
        run(writer, trial(seed), (1.0, 2.0), (INF, -INF))
        run(writer, trial(seed, TASKS[1]), (INF, 1.0), (50.0 + seed, 51.0))


def one_seed_diverged(writer):
    for seed in range(4):
        run(writer, trial(seed), (50.0 + seed, NAN if seed == 3 else 52.0))


def huge(writer):
    for seed in range(3):
        run(writer, trial(seed), (1e12 * (-1) ** seed, 3e11))


def awkward(writer):
    for seed in range(2):
        run(writer, trial(seed, variant=AWKWARD), (42.0, 43.0))
        run(writer, trial(seed, task=AWKWARD), (42.0, 43.0))
        run(writer, trial(seed, method=AWKWARD), (42.0, 43.0))
    fail(writer, trial(9, task=AWKWARD), AWKWARD)


def planned(writer):
    writer.plan([trial(seed) for seed in range(3)])


STORES = {
    "empty": lambda writer: None,
    "planned": planned,
    "one seed": lambda writer: run(writer, trial(), (90.0, 95.0)),
    "only failed": lambda writer: [fail(writer, trial(seed)) for seed in range(3)],
    "never evaluated": lambda writer: [run(writer, trial(seed)) for seed in range(3)],
    "all NaN": no_score_at_all,
    "one NaN": one_seed_diverged,
    "infinite": infinite,
    "huge": huge,
    "awkward names": awkward,
    "nothing of a paper's own": lambda writer: run(writer, trial(method="onestep"), (40.0, 41.0)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes a store by its name, once."""
    found = {}

    def make(name):
        if name not in found:
            found[name] = tmp_path_factory.mktemp("stores") / "s.sqlite"
            with open_store(found[name]) as store, Writer(store) as writer:
                writer.begin_run(samples.run_record())
                STORES[name](writer)
                writer.end_run("run-1")
        return found[name]

    return make


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


strict = partial(json.loads, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def without_prose(format_, text):
    """What a reader may take for numbers; of JSON nothing, because its numbers are read strictly."""
    if format_ == "csv":
        return "\n".join(f"|{field}|" for row in csv.reader(io.StringIO(text)) for field in row)
    if format_ == "json":
        strict(text)
        return ""
    # A page's scripts and styles say null and inf- to the browser.
    return re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", STORES)
def test_every_format_of_an_odd_store_is_whole_and_holds_no_nan(bench, made, folder, name):
    for format_ in FORMATS:
        code, _, _ = bench("report", "--store", made(name), "--format", format_, "--out", format_)
        assert code == 0, format_
        for path in (folder / format_).iterdir():
            found = NO_NUMBER.search(without_prose(format_, path.read_text()))
            assert found is None, (path.name, found)


@pytest.mark.parametrize("name", [name for name in STORES if name != "empty"])
def test_a_check_of_an_odd_store_says_what_became_of_it(bench, made, name):
    for format_ in ("text", "json", "junit"):
        code, out, err = bench("check", "--store", made(name), "--all", "--format", format_)
        assert code == (1 if name in ("one NaN", "infinite") else 0), err
        assert "Traceback" not in err
        if format_ == "json":
            strict(out)
        elif format_ == "junit":
            ElementTree.fromstring(out)
        else:
            assert NO_NUMBER.search(out) is None, out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("planned", "3 of 3 seeds have not finished"),
        ("one seed", "1 seed: no spread to judge by"),
        ("only failed", "3 of 3 seeds failed"),
        ("never evaluated", "3 of 3 seeds without a score under protocol last"),
        ("all NaN", "3 of 3 seeds with a score that is no finite number"),
    ],
)
def test_where_nothing_can_be_judged_the_reason_is_named(bench, made, name, said):
    code, out, _ = bench("check", "--store", made(name))
    assert code == 0
    assert "Nothing can be judged" in out
    assert "bench status" in out
    assert said in out


def test_seeds_that_diverged_are_told_beside_the_mean_of_the_others(bench, made):
    _, out, _ = bench("report", "--store", made("one NaN"), "--tables", "dtql-1")
    assert "52.0" not in out
    assert "51.5 ± 0.50 " in out
    assert "n = 3" in out
    assert "1 of 4 seeds with a score that is no finite number" in out
    _, out, _ = bench("check", "--store", made("one NaN"))
    assert re.search(r"not reproduced, below .* 3/4 *\n", out)


def test_figures_of_an_odd_store_are_drawn_or_told(bench, made, folder):
    for name in ("all NaN", "infinite", "one seed", "awkward names"):
        code, _, err = bench("report", "--store", made(name), "--format", "figures", "--out", name,
                             "--figure-format", "svg")  # fmt: skip
        assert code == 0, err
        for path in (folder / name).glob("*.svg"):
            text = " ".join(ElementTree.fromstring(path.read_text()).itertext())
            assert NO_NUMBER.search(text) is None, path


def test_names_are_shown_as_they_are_and_never_as_markup(bench, made, folder):
    for format_, more in (("html", ()), ("latex", ("--legend", folder / "legend.tex"))):
        bench("report", "--store", made("awkward names"), "--format", format_, "--out", folder, *more)
    page, legend = (folder / "report.html").read_text(), (folder / "legend.tex").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert r"variant a\_b\%\$\#\&\{\}" in legend


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "--format", "HTML"), ("unknown format 'HTML'", "Did you mean html?")),
        (("report", "--format", ""), ("unknown format ''", "markdown")),
        (("report", "--figures", "learning-curve"), ("unknown figure", "Did you mean learning-curves?")),
        (("report", "--figures", "profiles", "--figure-format", "pfd"), ("Did you mean pdf?",)),
        (("report", "--margins", "absent.yaml"), ("no file of margins at 'absent.yaml'",)),
        (("report", "--margins", "."), ("no file of margins at '.'",)),
        (("check", "--margins", "nonsense"), ("nonsense line 1: not UTF-8 text",)),
        (("check", "--format", "xml"), ("unknown format 'xml'", "json")),
        (("check", "--suite", "d4rl-locomotoin"), ("Did you mean d4rl-locomotion",)),
        (("check", "--against", "papers"), ("Did you mean paper?",)),
        (("check", "--explain", "dtql/hoper-medium-v2"), ("Did you mean dtql/hopper-medium-v2/last?",)),
        (("check", "--explain", "srpo/hopper-medium-v2"), ("nothing of", "is measured")),
    ],
)
def test_a_slip_of_the_pen_gets_one_message(bench, made, folder, arguments, said):
    (folder / "nonsense").write_bytes(b"\xf1\x00\xff")
    code, out, err = bench(*arguments, "--store", made("one seed"))
    assert (code, out) == (2, "")
    assert err.startswith("bench: ")
    assert all(text in err for text in said), err


def test_explaining_where_nothing_has_a_verdict(bench, made):
    code, _, err = bench("check", "--explain", "onestep", "--store", made("nothing of a paper's own"))
    assert code == 2
    assert "no verdict for 'onestep'" in err
    assert "bench check --all" in err


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("file", "Not a directory"),
        ("file/below", "Not a directory"),
        ("/proc/below", "No such file or directory"),
        ("taken", "Is a directory"),
        ("x" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("format_", ["html", "figures"])
def test_a_folder_that_cannot_be_written_is_named(bench, made, folder, out, why, format_):
    (folder / "file").write_text("mine")
    for name in ("report.html", "curves-d4rl-locomotion.pdf"):
        (folder / "taken" / name).mkdir(parents=True)
    chosen = ("--figures", "learning-curves") if format_ == "figures" else ("--tables", "dtql-1")
    code, said, err = bench("report", "--store", made("one seed"), "--format", format_, "--out", out, *chosen)
    assert (code, said) == (2, "")
    assert err.startswith(f"bench: cannot write '{out}/")
    assert why in err
    assert "--out DIR" in err
    assert (folder / "file").read_text() == "mine"


@pytest.mark.parametrize("out", ["file/below.json", "taken", "pipe", "/proc/below.json"])
def test_a_file_that_cannot_be_written_is_named(bench, made, folder, out):
    (folder / "file").write_text("mine")
    (folder / "taken").mkdir()
    os.mkfifo(folder / "pipe")
    code, said, err = bench("check", "--store", made("one seed"), "--format", "json", "--out", out)
    assert (code, said) == (2, "")
    assert err.startswith(f"bench: cannot write '{out}'")
    assert "--out FILE" in err
    assert {path.name for path in folder.iterdir()} == {"file", "taken", "pipe"}
