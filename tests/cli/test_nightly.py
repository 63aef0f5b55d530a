"""`bench nightly` on a tiny canary: green, red for each reason, gone on with after an interruption."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree

import pytest

from bench.cli import main
from bench.execute import stack as stack_module
from bench.nightly import canary as canary_module
from bench.nightly import night as night_module
from bench.nightly.canary import confirmation_seeds, night_seeds
from bench.nightly.pace import Circumstances, Pace
from tests.execute.tiny import TASK
from tests.nightly.tiny_nights import CANARY, STORE, few_fingerprints, write_canary

DAY = date(2026, 11, 21)
LOCAL = ("--executor", "local", "--seeds-per-stack", "4")


@pytest.fixture(scope="module")
def frozen(tiny_data, tmp_path_factory):
    """A folder with a canary and a store that holds its baseline. Not to be changed."""
    folder = tmp_path_factory.mktemp("frozen")
    write_canary(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_DATA_DIR", str(tiny_data))
        patch.chdir(folder)
        patch.setattr(night_module, "fingerprints", few_fingerprints)
        with pytest.raises(SystemExit) as stopped:
            main(["baseline", "freeze", "first", "--reason", "the first", "--by", "Ada", "--run",
                  "--config", "tiny.yaml", *LOCAL])  # fmt: skip
        assert stopped.value.code == 0
    return folder


@pytest.fixture
def nightly(bench, frozen, tiny_data, tmp_path, monkeypatch):
    """Runs the nightly job in a copy of that folder; returns exit code, output and errors."""
    shutil.copytree(frozen, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tiny_data))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(night_module, "fingerprints", few_fingerprints)
    return lambda *arguments, day=DAY: bench(
        "nightly", "--config", "tiny.yaml", "--date", day, *LOCAL, *arguments
    )


@pytest.fixture
def worse(monkeypatch):
    """Plants a regression: returns of DTQL fall by a thousand for these seeds (None: for all)."""
    roll_out = stack_module.roll_out

    def plant(seeds=None):
        def planted(algorithm, *arguments, **options):
            played = roll_out(algorithm, *arguments, **options)
            if algorithm.name == "dtql" and (seeds is None or set(algorithm.seeds) & set(seeds)):
                return replace(played, returns=played.returns - 1000.0)
            return played

        monkeypatch.setattr(stack_module, "roll_out", planted)

    return plant


def rows(sql, store=STORE):
    with sqlite3.connect(store) as connection:
        return connection.execute(sql).fetchall()


def test_an_unchanged_night_is_green_and_leaves_its_report(nightly, tmp_path):
    code, out, errors = nightly()
    assert (code, "GREEN." in out) == (0, True), out + errors
    assert "scores    2 as expected of 2 cells with 2 fresh seeds each" in out
    assert "papers    nothing in the store is comparable" in out
    assert rows("SELECT outcome, date, seeds FROM nights") == [
        ("green", "2026-11-21", "[20261121000, 20261121001]")
    ]
    assert (
        rows("SELECT status, n, lost, baseline_n, confirmed FROM nightly")
        == [("as expected", 2, 0, 4, None)] * 2
    )
    folder = tmp_path / "nights" / "2026-11-21"
    report = json.loads((folder / "report.json").read_text())
    assert (report["outcome"], report["problems"]) == ("green", [])
    suite = ElementTree.parse(folder / "junit.xml").getroot()
    assert suite.get("failures") == "0"
    assert {case.get("name") for case in suite.iter("testcase")} >= {f"dtql {TASK}", f"bc {TASK}"}
    page = (folder / "report.html").read_text()
    assert f"dtql {TASK}" in page
    assert not any(word in page for word in ("http://", "https://", ">nan<", "None"))
    assert '<a href="../index.html">All nights</a>' in page
    over_all = (tmp_path / "nights" / "index.html").read_text()
    assert "1 night: 1 green, 0 red; the last of 2026" in over_all
    assert 'href="2026-11-21/report.html"' in over_all
    # The same night again runs nothing anew and says the same.
    code, again, _ = nightly()
    assert (code, again.split("Night of")[1]) == (0, out.split("Night of")[1])
    assert rows("SELECT COUNT(*) FROM trials WHERE seed > 1000") == [(4,)]
    assert rows("SELECT COUNT(*) FROM nights") == [(2,)]


def test_scores_of_other_code_are_not_passed_off_as_those_of_the_code_at_hand(nightly, monkeypatch):
    assert "other code" not in nightly()[1]
    monkeypatch.setattr(canary_module, "code_fingerprint", lambda trained: "f" * 64)
    code, out, _ = nightly()
    assert code == 0
    assert "4 trials were made by other code than is here now" in out
    assert json.loads(rows("SELECT report FROM nights ORDER BY id DESC")[0][0])["other_code"] == 4


def test_data_that_is_not_what_its_recipe_makes_is_told_and_fails_nothing_that_the_baseline_passed(
    nightly, monkeypatch
):
    record = canary_module.dataset_record
    monkeypatch.setattr(
        canary_module, "dataset_record", lambda *found: replace(record(*found), verification="mismatch")
    )
    code, out, errors = nightly()
    assert (code, "GREEN." in out) == (0, True), out + errors
    assert f"            datasets, {TASK}: not what its recipe makes\n" in out


def test_a_regression_fails_the_night_once_fresh_seeds_confirm_it(nightly, worse, tmp_path):
    worse()
    code, out, _ = nightly()
    assert code == 1
    assert "1 below, 1 as expected of 2 cells" in out or "1 as expected, 1 below of 2 cells" in out
    assert "confirmed 1 of 1 alarms" in out
    assert "RED: 1 problem\n" in out
    assert f"dtql {TASK}: " in out.split("RED")[1]
    assert rows("SELECT algorithm, status, confirmation_n, confirmed FROM nightly ORDER BY algorithm") == [
        ("bc", "as expected", 0, None),
        ("dtql", "below", 3, 1),
    ]
    fresh = set(confirmation_seeds(DAY, 3))
    assert {seed for (seed,) in rows("SELECT seed FROM trials WHERE algorithm = 'dtql' AND seed > 1000")} == {
        *night_seeds(DAY, 2),
        *fresh,
    }
    assert rows(f"SELECT COUNT(*) FROM trials WHERE algorithm = 'bc' AND seed IN {tuple(fresh)}") == [(0,)]
    cases = ElementTree.parse(tmp_path / "nights/2026-11-21/junit.xml").getroot().iter("testcase")
    failing = [
        (case.get("classname"), case.get("name")) for case in cases if case.find("failure") is not None
    ]
    assert failing == [("scores", f"dtql {TASK}")]


def test_an_alarm_that_fresh_seeds_do_not_confirm_is_told_and_fails_nothing(nightly, worse):
    worse(night_seeds(DAY, 2))
    code, out, _ = nightly()
    assert (code, "GREEN." in out) == (0, True), out
    assert "confirmed 0 of 1 alarms" in out
    assert rows("SELECT status, confirmed FROM nightly WHERE algorithm = 'dtql'") == [("below", 0)]


def moved_to(digit):
    """Exact layers in which the replay of a simulator has another hash."""

    def taken(tasks, **_):
        found = few_fingerprints(tasks)
        recording = replace(found.simulators["hopper d4rl"], sha256=64 * digit)
        return replace(found, simulators={"hopper d4rl": recording})

    return taken


def test_what_is_exact_comes_first_and_a_note_that_accepts_it_lets_the_night_pass(
    nightly, bench, monkeypatch
):
    monkeypatch.setattr(night_module, "fingerprints", moved_to("f"))
    code, out, _ = nightly()
    assert code == 1
    assert "nothing else was run" in out
    assert 'bench baseline annotate first "WHY" --accept --config tiny.yaml' in out
    assert rows("SELECT COUNT(*) FROM trials WHERE seed > 1000") == [(0,)]
    assert rows("SELECT outcome FROM nights") == [("red",)]
    # A remark alone excuses nothing.
    bench("baseline", "annotate", "first", "hm", "--by", "Ben", "--config", "tiny.yaml")
    assert nightly()[0] == 1
    note = ("first", "contacts in another order", "--by", "Ben", "--accept", "--config", "tiny.yaml")
    assert bench("baseline", "annotate", *note)[0] == 0
    code, out, _ = nightly()
    assert code == 0, out
    assert "simulators, hopper d4rl differs, as Ben wrote on" in out
    assert "contacts in another order" in out
    # It excuses this difference, and no other.
    monkeypatch.setattr(night_module, "fingerprints", moved_to("e"))
    assert nightly()[0] == 1


def test_a_canary_that_is_not_the_baselines_is_red_and_says_what_differs(nightly, tmp_path):
    text = (tmp_path / "tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(text.replace("episodes: 2", "episodes: 3"))
    code, out, _ = nightly()
    assert code == 1
    assert f"bc {TASK}: evaluation.episodes is 3, and was 2 when the baseline was frozen" in out
    assert "bench baseline freeze NEW-NAME" in out
    settings = {"bc": CANARY["canary"][0]["settings"]["bc"]}
    write_canary(tmp_path, canary=[{**CANARY["canary"][0], "algorithms": ["bc"], "settings": settings}])
    code, out, _ = nightly()
    assert code == 1
    assert f"dtql {TASK} is in the baseline, but no longer in the canary" in out


def test_a_trial_that_failed_is_red_until_it_is_run_again(nightly, monkeypatch):
    roll_out = stack_module.roll_out

    def broken(algorithm, *arguments, **options):
        if algorithm.name == "bc":
            raise RuntimeError("the simulator broke")
        return roll_out(algorithm, *arguments, **options)

    monkeypatch.setattr(stack_module, "roll_out", broken)
    code, out, _ = nightly()
    assert code == 1
    assert f"bc {TASK}: 0 of 2 seeds have a score" in out
    assert "--retry failed" in out
    assert rows("SELECT status, n, lost FROM nightly WHERE algorithm = 'bc'") == [("missing", 0, 2)]
    monkeypatch.setattr(stack_module, "roll_out", roll_out)
    assert nightly()[0] == 1
    code, out, _ = nightly("--retry", "failed")
    assert code == 0, out
    assert [outcome for (outcome,) in rows("SELECT outcome FROM nights ORDER BY id")] == [
        "red",
        "red",
        "green",
    ]


def test_a_night_that_was_interrupted_goes_on(nightly, monkeypatch):
    roll_out = stack_module.roll_out

    def interrupted(algorithm, *arguments, **options):
        if algorithm.name == "bc":
            raise KeyboardInterrupt
        return roll_out(algorithm, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stack_module, "roll_out", interrupted)
        assert nightly()[0] == 130
    assert rows("SELECT outcome, ended_at FROM nights") == [(None, None)]
    before = rows("SELECT id, finished_at FROM trials WHERE algorithm = 'dtql' AND seed > 1000")
    assert len(before) == 2
    code, out, _ = nightly()
    assert (code, "GREEN." in out) == (0, True), out
    assert rows("SELECT id, finished_at FROM trials WHERE algorithm = 'dtql' AND seed > 1000") == before
    assert [outcome for (outcome,) in rows("SELECT outcome FROM nights ORDER BY id")] == [None, "green"]


def test_a_verdict_that_turns_fails_the_night_even_by_way_of_inconclusive(nightly, monkeypatch):
    key = ("dtql", "dtql", "hopper-medium-v2", "last")
    other = ("dtql", "dtql", "walker2d-medium-v2", "last")
    stands = [
        ({key: "reproduced", other: "inconclusive"}, 0, "none turned"),
        ({key: "inconclusive", other: "below"}, 0, "2 turned"),
        (
            {key: "below", other: "below"},
            1,
            "dtql/hopper-medium-v2/last: inconclusive -> not reproduced, below",
        ),
        ({key: "below", other: "below"}, 0, "none turned"),
    ]
    for number, (verdicts, expected, told) in enumerate(stands):
        monkeypatch.setattr(night_module, "verdicts_of", lambda *_, found=verdicts: found)
        code, out, _ = nightly(day=date(2026, 11, 21 + number))
        assert code == expected, out
        assert told in out
    assert "bench check --explain" not in out
    assert rows("SELECT COUNT(*) FROM night_verdicts") == [(8,)]


def test_a_verdict_that_turns_under_other_margins_says_so(nightly, tmp_path, monkeypatch):
    key = ("dtql", "dtql", "hopper-medium-v2", "last")
    monkeypatch.setattr(night_module, "verdicts_of", lambda *_: {key: "reproduced"})
    assert "margins" not in nightly()[1]
    write_canary(tmp_path, margins="own.yaml")
    (tmp_path / "own.yaml").write_text(
        "declared: 2026-01-01\ncell: {points: 1, deviations: 0}\nsuite: {points: 1}\n"
    )
    monkeypatch.setattr(night_module, "verdicts_of", lambda *_: {key: "below"})
    code, out, _ = nightly(day=date(2026, 11, 22))
    assert (code, "by other margins than on the last night" in out) == (1, True), out
    told = out.split("RED")[1]
    assert "not reproduced, below (the margins were changed as well)" in told
    # What is told explains the verdict of the night, by its margins and from its store.
    assert f"--explain dtql/hopper-medium-v2/last --store {STORE} --margins own.yaml" in told


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_margins_that_cannot_be_read_are_told_before_any_work(nightly, tmp_path, dry):
    write_canary(tmp_path, margins="none.yaml")
    code, _, errors = nightly(*dry)
    assert (code, "none.yaml" in errors) == (2, True), errors
    assert rows("SELECT COUNT(*) FROM trials WHERE seed > 1000") == [(0,)]
    assert rows("SELECT COUNT(*) FROM nights") == [(0,)]


def test_a_method_that_became_slower_on_the_same_machine_is_red(nightly, tmp_path, monkeypatch):
    here = Circumstances("a-machine", "a processor", "cpu: a processor", 2, "eager", "float32", "hopper")

    def timed(factor, where=here):
        seconds = tuple(factor * (1 + number / 1000) for number in range(8))
        return (Pace("bc", "training_seconds_per_1k_iterations", seconds, where, True),)

    rates = {"repeats": 8, "rate": 0.01, "slack": 0.1}
    write_canary(tmp_path, speed=rates)
    with sqlite3.connect(STORE) as connection:
        connection.execute(
            "UPDATE baselines SET pace = ?", [json.dumps([pace.as_json() for pace in timed(2.0)])]
        )
    for factor, where, expected, told in (
        (2.1, here, 0, "1 as expected of 1 timings"),
        (2.6, here, 1, "bc, training_seconds_per_1k_iterations: 2.61 s, baseline 2.01 s (+30 %)"),
        (2.6, replace(here, hostname="other"), 0, "different machines"),
    ):
        monkeypatch.setattr(night_module, "time_methods", lambda *_, f=factor, w=where, **__: timed(f, w))
        code, out, _ = nightly()
        assert (code, told in out) == (expected, True), out


def test_a_dry_run_shows_the_nights_grid_and_changes_nothing(nightly, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code, out, _ = nightly("--dry-run")
    assert code == 0
    assert "Against baseline 'first'" in out
    assert "4 trials left" in out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--date", "yesterday"], "date 'yesterday'"),
        (["--baseline", "frist"], "Did you mean first"),
        (["--retry", "all"], "There are: failed."),
        (["--executor", "rey"], "executor 'rey'"),
        (["--store", "none.sqlite"], "bench baseline freeze NAME"),
    ],
)
def test_wrong_requests_are_told_and_leave_nothing(nightly, tmp_path, arguments, told):
    code, _, errors = nightly(*arguments)
    assert (code, told in errors) == (2, True), errors
    assert rows("SELECT COUNT(*) FROM nights") == [(0,)]
    assert not (tmp_path / "none.sqlite").exists()


def test_a_folder_that_cannot_be_written_is_named_and_the_night_is_kept(nightly, tmp_path):
    (tmp_path / "file").touch()
    code, out, errors = nightly("--out", "file/report")
    assert (code, "cannot write" in errors) == (1, True), errors
    assert "GREEN." in out
    assert rows("SELECT outcome FROM nights") == [("green",)]
