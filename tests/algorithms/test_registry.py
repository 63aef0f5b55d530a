"""Methods by name: this package's, and those that installed distributions bring, whole or at fault."""

import dataclasses
import re
import subprocess
import sys
import textwrap

import pytest
from typer.testing import CliRunner

from algorithms import registry
from algorithms.base import Dimensions
from algorithms.dtql import DTQLConfig
from algorithms.registry import GROUPS, MethodError, build, field_docs, installed, members, method, methods
from bench.catalog import load_catalog
from bench.cli.commands import app
from bench.errors import BenchError
from bench.execute.grid import Request, plan_cells
from bench.presets import ALIASES, load_preset, tasks_of
from bench.provenance import code_fingerprint
from bench.training.trainer import phases_for

CATALOG = load_catalog()


@pytest.mark.parametrize("name", methods())
def test_a_declaration_says_what_the_method_does(name):
    declared = method(name)
    algorithm, configured = declared.load()
    assert algorithm.name == name
    assert list(declared.hyperparameters()) == [field.name for field in dataclasses.fields(configured)]
    values = load_preset(name, CATALOG.task(tasks_of(name)[0])).values
    small = {key: 4 for key in values if key.endswith("_width")}
    phases = build(name, Dimensions(4, 2), values | small, (0,)).phases
    assert {phase.name: phase.iterations for phase in phases if phase.iterations} == {
        phase: values[count] for phase, count in declared.phases.items() if values[count]
    }
    assert [phase.name for phase in phases if phase.evaluated] == [declared.evaluated]


def test_declarations_of_this_package_are_whole_and_tell_methods_apart():
    assert installed().problems == ()
    assert list(methods()) == list(registry.OWN)
    for facts in ("title", "label", "look"):
        told = [getattr(one, facts) for one in methods().values()]
        assert all(told) and all(told.count(one) == 1 for one in told)
    printed = [name for one in methods().values() for name in (*one.printed, *one.ablations)]
    assert len(set(printed)) == len(printed)
    for alias in ALIASES.values():
        assert {*alias.methods.values(), alias.elsewhere} <= set(methods())


def test_groups_name_methods_of_this_package():
    assert members("papers") == ("dtql", "srpo", "edp", "bdpo")
    assert set(members("papers")) <= {*methods(), *ALIASES}
    assert members("all") == tuple(methods())
    assert {"bc"} <= set(members("comparators")) < set(members("all"))
    assert not set(members("comparators")) & {"dtql", "srpo", "edp-td3", "edp-iql", "bdpo"}
    assert not set(GROUPS) & {*methods(), *ALIASES}


def test_declarations_are_read_without_torch():
    code = """
        import sys
        from algorithms.registry import methods
        assert all(one.title and one.hyperparameters() for one in methods().values())
        assert "torch" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_field_docs_are_the_strings_after_the_fields():
    docs = field_docs("algorithms.dtql", "DTQLConfig")
    assert docs["batch_size"] == "transitions"
    assert list(docs) == [field.name for field in dataclasses.fields(DTQLConfig)]
    assert field_docs("algorithms.there_is_no_such_method", "Config") == {}
    assert field_docs("algorithms.dtql", "NoSuchConfig") == {}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution with entry points and files on the path, as an installer would."""
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()

    def distribution(name, entry_points, files):
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(textwrap.dedent(text))

    yield distribution
    installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


HEAD = """
title: Acme's method
label: ACME
configuration: Config
step_counts: [train_iterations]
phases: {train: train_iterations}
evaluated: train
"""
MODULE = """
from algorithms.bc import BC
from .settings import Config
class Acme(BC):
    name = "acme"
"""
SETTINGS = """
from dataclasses import dataclass
from algorithms.bc import BCConfig
@dataclass(frozen=True)
class Config(BCConfig):
    extra: int = 3
    "pieces"
"""
FILES = {
    "acme/__init__.py": "raise RuntimeError('imported')",
    "acme/methods/__init__.py": "",
    "acme/methods/cloning.py": MODULE,
    "acme/methods/settings.py": SETTINGS,
    "acme/methods/presets/acme.yaml": HEAD,
}


def test_a_distribution_brings_a_method_that_is_declared_without_importing_it(install):
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", FILES)
    found = method("acme")
    assert list(methods()) == [*registry.OWN, "acme"]
    assert (found.title, found.shown, found.look) == ("Acme's method", "ACME", None)
    assert (found.distribution, found.preset.name) == ("acme-rl 1.2", "acme.yaml")
    assert list(found.hyperparameters().items())[-1] == ("extra", "pieces")
    with pytest.raises(
        MethodError, match=r"method 'acme' of acme-rl 1\.2 cannot be used: RuntimeError: imported"
    ):
        found.load()


def test_a_method_of_a_distribution_is_loaded(install):
    files = FILES | {"acme/__init__.py": "", "acme/methods/acme.yaml": HEAD}
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", files)
    assert method("acme").preset.parent.name == "methods"  # beside the module, before presets/
    algorithm, configured = method("acme").load()
    assert (algorithm.__name__, configured.__name__) == ("Acme", "Config")


@pytest.mark.parametrize(
    ("entry", "files", "told"),
    [
        ("acme = acme.methods.nothing:Acme", {}, "there is no module acme.methods.nothing"),
        ("acme = nowhere:Acme", {}, "there is no module nowhere"),
        ("acme = acme.methods.cloning", {}, "'acme.methods.cloning' is not of the form package.module:Class"),
        ("other = acme.methods.cloning:Acme", {}, "there is no preset file other.yaml beside "),
        ("dtql = acme.methods.cloning:Acme", {}, "this package has a method of this name"),
        ("edp = acme.methods.cloning:Acme", {}, "the name stands for several methods by domain"),
        (
            "Acme 2 = acme.methods.cloning:Acme",
            {},
            "a name is made of small letters, digits and single hyphens",
        ),
        ("acme = acme.methods.cloning:Acme", {"title: Acme's method": "title: [1]"}, "acme.yaml: title: "),
        (
            "acme = acme.methods.cloning:Acme",
            {"evaluated: train": "evaluated: x"},
            "evaluated names no phase: x",
        ),
        ("acme = acme.methods.cloning:Acme", {"[train_iterations]": "[train"}, "acme.yaml: while parsing"),
        ("acme = acme.methods.cloning:Acme", {"ACME": "!!bool x"}, "acme.yaml: "),
        ("acme = acme.methods.cloning:Acme", {HEAD: "- 1"}, "acme.yaml: it is no mapping"),
    ],
)
def test_a_method_at_fault_is_left_out_and_the_others_stay(install, entry, files, told):
    head = HEAD
    for old, new in files.items():
        head = head.replace(old, new)
    install("acme-rl", f"[bench.methods]\n{entry}\n", FILES | {"acme/methods/presets/acme.yaml": head})
    assert list(methods()) == list(registry.OWN)
    (problem,) = installed().problems
    name = entry.partition(" =")[0]
    assert str(problem).startswith(f"method {name!r} of acme-rl 1.2 is left out: ")
    assert told in str(problem)
    if name not in registry.OWN:
        with pytest.raises(MethodError, match="acme-rl"):
            method(name)


def test_a_name_that_two_distributions_use_is_neithers(install):
    entry = "[bench.methods]\nacme = acme.methods.cloning:Acme\n"
    install("acme-rl", entry, FILES)
    install("acme-too", entry, {})
    assert list(methods()) == list(registry.OWN)
    first, second = map(str, installed().problems)
    assert first.startswith(
        "method 'acme' of acme-rl 1.2 is left out: acme-too 1.2 has a method of this name"
    )
    assert second.startswith(
        "method 'acme' of acme-too 1.2 is left out: acme-rl 1.2 has a method of this name"
    )


def test_entry_points_that_cannot_be_read_are_told_and_stop_no_other(install):
    install("acme-rl", "[bench.methods]\nno equals sign\n", FILES)
    install("better", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", {})
    install("others", "no section\n", {})
    assert list(methods()) == [*registry.OWN, "acme"]
    (problem,) = map(str, installed().problems)
    assert problem.startswith("the entry points of acme-rl 1.2 cannot be read: ")


def test_an_unknown_method_is_a_key_error_and_a_class_of_another_kind_is_told(install):
    files = FILES | {
        "acme/__init__.py": "",
        "acme/methods/cloning.py": "class Acme: pass\nclass Config: pass",
    }
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", files)
    with pytest.raises(KeyError):
        method("nothing")
    with pytest.raises(MethodError, match=r"acme\.methods\.cloning:Acme is no algorithms\.base\.Algorithm"):
        method("acme").load()


def test_a_method_that_is_left_out_is_told_on_the_command_line(install):
    install("acme-rl", "[bench.methods]\nacme = nowhere:Acme\n", FILES)
    told = CliRunner().invoke(app, ["list", "algorithms"]).output
    assert "Not listed: method 'acme' of acme-rl 1.2 is left out: there is no module nowhere." in told
    with pytest.raises(BenchError, match=r"method 'acme' of acme-rl 1\.2 is left out"):
        load_preset("acme", CATALOG.task("hopper-medium-v2"))


def test_a_method_of_a_distribution_is_shown_and_planned_as_any_other(install):
    preset = HEAD + 'extends: bc\nrules:\n  - {set: {extra: 3}, source: "ours"}\n'
    files = FILES | {"acme/__init__.py": "", "acme/methods/presets/acme.yaml": preset}
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", files)
    shown = CliRunner().invoke(app, ["show", "acme", "hopper-medium-v2"]).output
    assert re.search(r"extra +3 +pieces", shown)
    request = Request((CATALOG.task("hopper-medium-v2"),), ("acme", "bc"), (0,), changes={"acme.extra": 4})
    own, cloning = plan_cells(request)
    assert own.preset.values == cloning.preset.values | {"extra": 4}
    assert own.reduced == ("extra set to 4",)
    with pytest.raises(BenchError, match=r"acme\.yaml does not list it under tasks"):
        load_preset("acme", CATALOG.task("pen-human-v0"))


def test_the_files_of_a_method_of_a_distribution_are_part_of_the_code_that_trains_it(install, tmp_path):
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", FILES)
    assert {name for name, _ in method("acme").files()} == {*FILES} - {"acme/methods/presets/acme.yaml"} | {
        "acme.yaml"
    }
    without, before = code_fingerprint(["bc"]), code_fingerprint(["bc", "acme"])
    assert without == code_fingerprint() == code_fingerprint(["not-here"])
    assert before not in (without, code_fingerprint([]))
    for path in FILES:
        (tmp_path / path).write_text((tmp_path / path).read_text() + "\n")
        assert code_fingerprint(["acme"]) != before
        before = code_fingerprint(["acme"])
    assert code_fingerprint(["bc"]) == without


def test_a_module_alone_is_all_of_its_method(install, tmp_path):
    install(
        "acme-rl",
        "[bench.methods]\nacme = acme_alone:Acme\n",
        {"acme_alone.py": "", "acme.yaml": HEAD, "other.py": ""},
    )
    assert dict(method("acme").files()) == {
        "acme_alone.py": tmp_path / "acme_alone.py",
        "acme.yaml": tmp_path / "acme.yaml",
    }


def test_phases_other_than_declared_are_told_before_anything_is_trained(install):
    preset = HEAD.replace("{train:", "{clone:").replace("evaluated: train", "evaluated: clone")
    preset += 'extends: bc\nrules:\n  - {set: {extra: 3}, source: "ours"}\n'
    files = FILES | {"acme/__init__.py": "", "acme/methods/presets/acme.yaml": preset}
    install("acme-rl", "[bench.methods]\nacme = acme.methods.cloning:Acme\n", files)
    task = CATALOG.task("hopper-medium-v2")
    with pytest.raises(BenchError, match=r"acme has other phases than acme\.yaml declares") as told:
        phases_for(task, "acme", load_preset("acme", task).values)
    assert "train of 1,000,000 iterations (evaluated); the file declares clone of" in str(told.value)


def test_a_method_that_cannot_be_imported_is_told_before_anything_runs(install):
    preset = HEAD + 'extends: bc\nrules:\n  - {set: {extra: 3}, source: "ours"}\n'
    install(
        "acme-rl",
        "[bench.methods]\nacme = acme.methods.cloning:Acme\n",
        FILES | {"acme/methods/presets/acme.yaml": preset},
    )
    with pytest.raises(
        BenchError, match=r"method 'acme' of acme-rl 1\.2 cannot be used: RuntimeError: imported"
    ):
        plan_cells(Request((CATALOG.task("hopper-medium-v2"),), ("acme",), (0,)))
