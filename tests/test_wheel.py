"""The wheel carries everything: installed elsewhere, it answers from an empty folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs `bench` of the wheel from an empty folder, with no checkout in sight."""
    target, empty = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("empty")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, "--target", str(target), str(wheel))

    def bench(*arguments):
        # The target comes first on the path, before the editable installation that the tests run in.
        return run(sys.executable, "-m", "bench", *arguments, cwd=empty, env={"PYTHONPATH": str(target)})

    origin = run(
        sys.executable,
        "-c",
        "import bench; print(bench.__file__)",
        cwd=empty,
        env={"PYTHONPATH": str(target)},
    )
    assert Path(origin.strip()).is_relative_to(target)
    return bench


def test_tables_are_listed_from_an_empty_folder(installed):
    listed = installed("list", "tables").splitlines()
    assert {line.split()[0] for line in listed[1:]} >= {
        "dtql-1",
        "srpo-1",
        "edp-figure-2",
        "bdpo-1",
        "combined",
    }
    assert any(line.startswith("dtql-1 ") and line.split()[-1] == "240" for line in listed)


def test_tasks_presets_and_paper_numbers_travel_along(installed):
    assert "collected-hopper-quickstart" in installed("list", "tasks")
    assert "trust_region_weight" in installed("show", "dtql", "hopper-medium-v2")


def test_data_files_are_in_the_wheel_and_neither_tests_nor_benchmarks(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    ours = (
        "tasks.yaml",
        "margins.yaml",
        "nightly.yaml",
        "paper_tables/tables.yaml",
        "reports/templates/live.html",
        "method_template/toy_method/presets/toy.yaml",
    )
    wanted = {f"bench/_resources/{name}" for name in ours}
    assert wanted | {"bench/data/manifest.yaml", "algorithms/presets/dtql.yaml"} <= set(names)
    policies = [name for name in names if name.startswith("bench/data/behaviour_policies/")]
    assert sum(name.endswith(".safetensors") for name in policies) == 16
    assert {"bench/py.typed", "algorithms/py.typed"} <= set(names)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == {"bench", "algorithms"}
    # The model of a GPU that estimates go by; benchmarks themselves stay outside.
    assert [name for name in names if "benchmarks" in name] == [
        "bench/_resources/reports/benchmarks/kernels.json"
    ]
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_has_the_fingerprint_of_the_checkout_it_was_built_from(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = "from bench.provenance import code_fingerprint; print(code_fingerprint())"
    told = {
        root: run(sys.executable, "-c", script, cwd=root, env={"PYTHONPATH": str(root)})
        for root in (CHECKOUT, tmp_path)
    }
    assert told[CHECKOUT] == told[tmp_path]
