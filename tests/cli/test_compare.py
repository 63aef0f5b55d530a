"""`bench compare` as typed by a person: text, programs' formats, exit codes, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_check import HOPPER, PRINTED, WOBBLE, make_store
from tests.cli.test_import import DECLARED, csv_of

STORE = Path("results/bench.sqlite")


@pytest.fixture
def store(bench, tmp_path, monkeypatch) -> Path:
    """A store with `mine` imported, 7 points above what `dtql` was measured at on one task."""
    monkeypatch.chdir(tmp_path)
    make_store(STORE, ("dtql", HOPPER, 92 + WOBBLE))
    bench("import", csv_of(tmp_path / "scores.csv"), "--as", "mine", *DECLARED)
    return tmp_path


def test_an_imported_method_against_a_measured_one(bench, store):
    code, output, errors = bench("compare", "mine", "--against", "dtql")
    assert (code, errors) == (0, "")
    assert "mine against dtql" in output
    row = next(line for line in output.splitlines() if line.startswith(HOPPER))
    assert row.split()[1:5] == ["better", "+7.0", "±", "0.4"]
    assert "dtql has no score on it" in output
    assert "mine: imported; its owner declares: data d4rl" in output
    assert "wrong in at most 5 % of comparisons" in output
    assert "1.00  [0.64, 1.00]" in output


def test_all_of_it_for_programs(bench, store):
    _, output, _ = bench("compare", "mine", "--against", "paper", "--format", "json")
    found = json.loads(output)
    cells = {(cell["against"], cell["task"]): cell for cell in found["cells"]}
    cell = cells["bdpo/last, printed by BDPO", "walker2d-medium-v2"]
    assert (cell["mine"]["kind"], cell["other"]["kind"]) == ("imported", "printed")
    assert cell["mine"]["declared"]["protocol"] == "last"
    assert cell["outcome"] in ("better", "worse", "equivalent", "undecided")
    assert found["counts"]["not comparable"] == 4  # EDP's, of other protocols
    _, output, _ = bench("compare", "dtql", "--against", "mine", "--format", "junit")
    root = ElementTree.fromstring(output.partition("\n")[2])
    assert (root.get("tests"), root.get("failures")) == ("1", "1")
    code, output, _ = bench("compare", "mine", "--against", "dtql", "--format", "latex", "--out", "row.tex")
    assert (code, output) == (0, "Wrote row.tex\n")
    assert r"mine & $99.0 \pm 0.3^{+}$ & $90.0 \pm 0.3^{\dagger}$ \\" in Path("row.tex").read_text()


def test_what_is_not_declared_is_held_against_nothing(bench, store):
    bench("import", "scores.csv", "--as", "silent", "--physics", "d4rl")
    for against in ("paper", "mine", "dtql"):
        code, output, errors = bench("compare", "silent", "--against", against)
        assert (code, errors) == (0, "")
        assert f"Nothing of silent can be held against {against}." in output
        assert "silent: not declared: data, episodes, protocol" in output
        assert "To declare what is missing: the same import again" in output
    assert bench("compare", "mine", "--against", "silent")[0] == 0


def test_a_suite_restricts_what_is_corrected_together(bench, store):
    _, output, _ = bench("compare", "mine", "--suite", "d4rl-locomotion", "--against", "paper:dtql")
    assert "Holm-corrected over both sides of 2 cells" in output
    assert "no score: halfcheetah-medium-v2" in output
    code, _, errors = bench("compare", "mine", "--suite", "d4rl-locomotive")
    assert code == 2
    assert "Did you mean d4rl-locomotion" in errors
    code, _, errors = bench("compare", "mine", "--suite", "d4rl-kitchen")
    assert code == 2
    assert "have no task in common" in errors


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["nobody"], "unknown method in the store 'nobody'"),
        (["mine", "--against", "srpo"], "Its printed numbers: --against paper:srpo"),
        (["mine", "--against", "td3bc"], "Its printed numbers: --against paper:td3bc"),
        (["mine", "--against", "BDPO"], "Its printed numbers: --against paper:bdpo"),
        (["mine", "--against", "dtql/last"], "Its printed numbers: --against paper:dtql"),
        (["mine", "--against", "mine"], "against itself"),
        (["mine", "--against", "paper:nobody"], "unknown reference"),
        (["mine", "--format", "word"], "unknown format"),
        (["mine", "--store", "none.sqlite"], "none.sqlite"),
    ],
)
def test_wrong_requests_end_with_2(bench, store, typed, told):
    code, _, errors = bench("compare", *typed)
    assert code == 2
    assert told in errors


def test_what_was_measured_here_is_held_against_a_paper_too(bench, store):
    make_store(Path("own.sqlite"), ("dtql", HOPPER, PRINTED["dtql", HOPPER] + WOBBLE))
    _, output, _ = bench("compare", "dtql", "--against", "paper:dtql", "--store", "own.sqlite")
    row = next(line for line in output.splitlines() if line.startswith(HOPPER))
    assert row.split()[1] == "equivalent"


def test_neither_torch_nor_ray_nor_a_simulator_is_imported(store):
    code = (
        "import sys\nfrom bench.cli import main\n"
        "for line in (['import', 'scores.csv', '--as', 'again'], ['compare', 'mine']):\n"
        "    try:\n        main(line)\n"
        "    except SystemExit as stop:\n        assert stop.code == 0, stop.code\n"
        "assert not {'torch', 'ray', 'mujoco', 'gymnasium', 'h5py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, stdout=subprocess.DEVNULL)
