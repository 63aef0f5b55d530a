"""Data of a user's own from end to end: made by Gymnasium, added, trained on, reported and checked."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from bench.catalog import load_catalog
from bench.data.folder import dataset_path
from bench.evaluation.stored import load_method
from bench.store.database import open_store
from tests.data.files import columns, write

BUDGET = ("--budget", "0.00001", "--evals", "1", "--episodes", "1", "--executor", "local")
RUN = ("run", "--tasks", "mine", "--algos", "bc", "--seeds", "0", *BUDGET)
ADD = ("data", "add", "my.hdf5", "--name", "mine")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path / "data"))
    for variable in ("BENCH_TASKS", "BENCH_STORE", "MINARI_DATASETS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    stand = tmp_path / "here"
    stand.mkdir()
    monkeypatch.chdir(stand)
    return stand


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def recorded(rows):
    """What a user's own loop writes down of Gymnasium's Hopper."""
    environment, generator = gymnasium.make("Hopper-v4"), np.random.default_rng(0)
    found = {name: [] for name in ("observations", "actions", "rewards", "terminals", "timeouts")}
    observation, _ = environment.reset(seed=0)
    for _ in range(rows):
        action = generator.uniform(-1, 1, 3).astype(np.float32)
        following, reward, terminated, truncated, _ = environment.step(action)
        for name, value in zip(found, (observation, action, reward, terminated, truncated), strict=True):
            found[name].append(value)
        observation = environment.reset()[0] if terminated or truncated else following
    return {name: np.array(values) for name, values in found.items()}


def added(bench, *further):
    write(Path("my.hdf5"), columns())
    code, out, err = bench(*ADD, "--environment", "hopper", *further)
    assert code == 0, err
    return out


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gymnasiums_own_data_is_trained_on_and_shown_as_foreign(bench):
    write(Path("my.hdf5"), recorded(200))
    reference = ("--reference", "0,3000", "--preset-of", "hopper-medium-v2")
    code, out, err = bench(*ADD, "--environment", "hopper", *reference)
    assert code == 0, err
    assert "mine: entered in tasks.yaml." in out
    assert "a return of 0 is score 0, 3000 is 100" in out
    assert "foreign: shown, and held against no paper's" in out
    code, out, err = bench(*RUN)
    assert (code, "1 trial: 1 finished" in out) == (0, True), out + err
    assert "not be comparable" not in out

    code, out, _ = bench("report", "--tables", "combined")
    assert (code, "### Foreign data, of no paper" in out) == (0, True)
    (row,) = (line for line in out.splitlines() if line.startswith("| mine "))
    assert "†[a]" in row
    assert "[a] not comparable: foreign data, of no paper; presets of hopper-medium-v2" in out

    code, out, _ = bench("check", "--against", "paper")
    assert (code, "    1  foreign data, of no paper" in out) == (0, True)
    _, out, _ = bench("check", "--against", "paper", "--format", "json")
    assert json.loads(out)["cells"] == []

    _, out, _ = bench("explain", "1")
    assert "a task of one's own, held against no paper's number; presets of hopper-medium-v2" in out
    assert "[CORL any_percent_bc.py (preset of hopper-medium-v2)]" in out
    assert ["foreign", "reference", "expert", "3000"] in [line.split() for line in out.splitlines()]
    _, out, _ = bench("show", "bc", "mine")
    assert "the preset is that of hopper-medium-v2." in out


def test_where_the_catalogue_is_gone_scores_are_foreign_still(bench):
    added(bench, "--preset-of", "hopper-medium-v2")
    assert bench(*RUN)[0] == 0
    # What the trial has learned acts in the environment, and is scored on the scale, that it was trained for.
    assert bench(*ADD, "--reference", "0,1", "--replace")[0] == 0
    with open_store("results/bench.sqlite") as store:
        assert load_method(store, 1).task.reference.expert == 3234.3
    Path("tasks.yaml").unlink()
    assert bench("evaluate", "1", "--episodes", "1", "--threads", "1")[0] == 0
    assert "| mine " in bench("report", "--tables", "combined")[1]
    assert "foreign data, of no paper" in bench("check", "--against", "paper")[1]


def test_presets_may_be_named_at_the_run(bench):
    assert "--preset-of TASK --dry-run" in added(bench)
    code, _, err = bench(*RUN)
    assert (code, "Add --preset-of TASK, or preset_of to its entry." in err) == (2, True)
    assert bench(*RUN, "--preset-of", "hopper-medium-v2")[0] == 0
    assert "presets of hopper-medium-v2" in bench("explain", "1")[1]
    # The preset is a part of what a trial is.
    assert bench(*RUN, "--preset-of", "hopper-medium-expert-v2")[0] == 0
    assert "presets of hopper-medium-expert-v2" in bench("explain", "2")[1]


def test_it_is_listed_and_verified_like_everything_else(bench):
    added(bench)
    out = bench("list", "tasks")[1]
    assert "Your own, of no suite:" in out
    (line,) = (line for line in out.splitlines() if line.startswith("mine "))
    assert line.split()[:6] == ["mine", "11/3", "1000", "40", "your", "own"]
    (line,) = (line for line in bench("data", "list", "mine")[1].splitlines() if line.startswith("mine "))
    assert line.split()[3:] == ["40", "content", "fits"]
    (line,) = (line for line in bench("data", "list")[1].splitlines() if line.startswith("your own"))
    assert line.split()[2:6] == ["1", "of", "1", "there"]
    assert bench("data", "verify", "mine")[1].startswith("mine: content fits")
    assert bench("data", "info", "mine")[0] == 0


def test_what_was_added_and_is_gone_or_another_is_told_before_training(bench):
    added(bench, "--preset-of", "hopper-medium-v2")
    path = dataset_path(load_catalog().task("mine"))
    write(path, columns(seed=1))
    code, _, err = bench(*RUN)
    assert (code, "is not the file that was added as mine" in err) == (2, True)
    for command in ("verify", "info"):
        code, _, err = bench("data", command, "mine")
        assert (code, "is not the file that was added as mine" in err) == (2, True)
    path.unlink()
    code, _, err = bench(*RUN)
    assert (code, "Type `bench data add FILE --name mine`" in err) == (2, True)
    assert "missing" in bench(*RUN, "--dry-run")[1]
    for command in ("fetch", "collect"):
        code, _, err = bench("data", command, "mine")
        assert (code, "Type `bench data add FILE --name mine`" in err) == (2, True)


def test_methods_that_need_trajectories_say_so_of_shuffled_transitions(bench):
    content = columns(rows=400)
    following = np.roll(content["observations"], 200, axis=0)
    write(Path("my.hdf5"), content | {"timeouts": None, "next_observations": following})
    assert "do not follow one another" in bench(*ADD, "--environment", "hopper")[1]
    run = [*RUN, "--preset-of", "hopper-medium-v2"]
    for method in ("bc-10", "dt", "iql"):
        run[run.index("--algos") + 1] = method
        for more in ((), ("--dry-run",)):
            code, _, err = bench(*run, "--store", f"{method}.sqlite", *more)
            assert (code, err.splitlines()[0]) == (2, "bench: mine holds no trajectories"), method
            assert f"and {method} needs whole trajectories or their returns" in " ".join(err.split())
        assert not Path(f"{method}.sqlite").exists()
    entry = Path("tasks.yaml").read_text()
    assert "    in_order: false\n" in entry
    # Somebody may write otherwise, or have added it earlier: then it shows when the file is read.
    Path("tasks.yaml").write_text(entry.replace("    in_order: false\n", ""))
    code, out, err = bench(*run, "--store", "read.sqlite")
    assert (code, "this dataset holds no trajectories" in out + err) == (1, True)
    run[run.index("--algos") + 1] = "bc"
    assert bench(*run)[0] == 0


@pytest.mark.parametrize("reference", ["0", "a,b", "0,0", "3000,0", "nan,1", "0,inf", "1,2,3", ""])
def test_reference_scores_that_cannot_be_are_refused(bench, reference):
    write(Path("my.hdf5"), columns())
    code, _, err = bench(*ADD, "--environment", "hopper", "--reference", reference)
    assert (code, "For example: --reference 0,3000" in err) == (2, True)
    assert not Path("tasks.yaml").exists()
