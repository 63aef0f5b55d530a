"""The tests for a GPU are collected on a machine that has little more than torch."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu.subjects import all_methods
from tests.benchmarks.gpu.test_on_gpu import METHODS

BARE = (
    *("torch", "numpy", "mujoco", "gymnasium", "pydantic", "sqlalchemy", "safetensors", "typer", "h5py"),
    "pytest",
)
COLLECT = """
import sys

allowed = set(sys.argv[1].split(","))

class Missing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import pytest
sys.exit(pytest.main(["-q", "-m", "gpu", "--collect-only", "-p", "no:cacheprovider"]))
"""


def needed(names):
    """The distributions `names` and all that they need, as far as they are installed."""
    found, waiting = set(), list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        try:
            requirements = map(Requirement, requires(name) or ())
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [each.name for each in requirements if each.marker is None or each.marker.evaluate()]
    return found


def test_collected_where_nothing_else_can_be_imported():
    distributions = needed(BARE)
    modules = {
        module
        for module, owners in packages_distributions().items()
        if not distributions.isdisjoint(map(canonicalize_name, owners))
    }
    assert not modules & {"yaml", "psycopg", "hypothesis", "ray", "pandas", "psutil"}
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, ",".join((*modules, "tests", "benchmarks", "bench", "algorithms"))],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in METHODS:
        for test in ("graph_equals_eager[{}-single]", "restored_equals_straight[{}]", "stack_as_alone[{}]"):
            assert test.format(name) in done.stdout


def test_every_method_is_among_them():
    assert sorted(all_methods()) == sorted(METHODS)
